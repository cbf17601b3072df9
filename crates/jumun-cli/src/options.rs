//! The flags that most commands have: which system, where its data is, and its configuration.
//!
//! One rule finds the system: a command takes the one that is named. If none is named, it takes the one that has data in the
//! data folder; if there are several, the one that is up. `up`, `serve` and `parked discard`, which loses something, must be told.

use crate::{Failure, operate::folder_of, systems::Systems};
use clap::Args;
use jumun::SystemModel;
use jumun_host::config::{Config, Sources, load as load_config};
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// A system that must be named.
#[derive(Debug, Args)]
pub(crate) struct NamedSystemOptions {
    /// The system, by its name.
    pub(crate) system: String,
    #[command(flatten)]
    pub(crate) settings: SettingsOptions,
}

/// A system that may be named.
#[derive(Debug, Args)]
pub(crate) struct SystemOptions {
    /// The system. By default the one with data in the data folder; of several the one that is up.
    system: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// The same for commands whose arguments are services: the system is a flag.
#[derive(Debug, Args)]
pub(crate) struct SystemFlagOptions {
    /// The system. By default the one with data in the data folder; of several the one that is up.
    #[arg(long)]
    system: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// Where data and configuration are.
#[derive(Debug, Args)]
pub(crate) struct SettingsOptions {
    /// The folder of all data.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// The configuration; ./jumun.toml by default, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder with a file for each value, named as its key (order.listen): configuration as Kubernetes mounts it.
    #[arg(long, value_name = "FOLDER")]
    config_dir: Option<PathBuf>,
    /// Moves all usual ports up by this number; the same as `--set port_offset=N`.
    #[arg(long, value_name = "N")]
    pub(crate) port_offset: Option<u16>,
    /// Sets one configuration key, over file and environment.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in payment.decline_over=50000")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl NamedSystemOptions {
    pub(crate) fn load(&self, systems: Systems<'_>) -> Result<(SystemModel, Config), Failure> {
        self.settings.load(systems, Some(&self.system))
    }
}

impl SystemOptions {
    pub(crate) fn load(&self, systems: Systems<'_>) -> Result<(SystemModel, Config), Failure> {
        self.settings.load(systems, self.system.as_deref())
    }
}

impl SystemFlagOptions {
    pub(crate) fn load(&self, systems: Systems<'_>) -> Result<(SystemModel, Config), Failure> {
        self.settings.load(systems, self.system.as_deref())
    }
}

impl SettingsOptions {
    fn load(&self, systems: Systems<'_>, named: Option<&str>) -> Result<(SystemModel, Config), Failure> {
        let model = self.find(systems, named)?;
        let config = load_config(&model, &self.sources())?;
        Ok((model, config))
    }

    /// The system that is named, or the one that is here.
    pub(crate) fn find(&self, systems: Systems<'_>, named: Option<&str>) -> Result<SystemModel, Failure> {
        if let Some(name) = named {
            return systems.find(name);
        }
        let name = |folder: &Path| folder.file_name().and_then(OsStr::to_str).map(str::to_owned);
        let is_system = |folder: &Path| name(folder).is_some_and(|name| systems.find(&name).is_ok());
        let folder = folder_of(None, &self.data, is_system)?;
        systems.find(&name(&folder).unwrap_or_default())
    }

    /// The same for another process.
    pub(crate) fn as_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--data".into(), self.data.clone().into()];
        if let Some(config) = &self.config {
            arguments.extend(["--config".into(), config.clone().into()]);
        }
        if let Some(folder) = &self.config_dir {
            arguments.extend(["--config-dir".into(), folder.clone().into()]);
        }
        if let Some(offset) = self.port_offset {
            arguments.extend(["--port-offset".into(), offset.to_string().into()]);
        }
        for (key, value) in &self.set {
            arguments.extend(["--set".into(), format!("{key}={value}").into()]);
        }
        arguments
    }

    /// The sources of configuration that these flags name.
    pub(crate) fn sources(&self) -> Sources {
        let offset = self.port_offset.map(|offset| ("port_offset".to_owned(), offset.to_string()));
        Sources {
            file: self.config.clone(),
            folder: self.config_dir.clone(),
            data: Some(self.data.clone()),
            set: self.set.iter().cloned().chain(offset).collect(),
            environment: None,
        }
    }
}
