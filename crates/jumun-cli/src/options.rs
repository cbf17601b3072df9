//! The flags that most commands share: the system, its data and its configuration.
//!
//! One rule finds the system: a command takes the one that is named. If none is named, it takes the only one of the
//! program. If the program has several, it takes the one that has data in the data folder; if several have, the one that
//! is up. `up`, `serve` and `parked discard`, which deletes data, then require the name.

use crate::{
    Failure,
    operate::{NoFolder, only_folder},
    systems::Systems,
};
use clap::Args;
use jumun::SystemModel;
use jumun_config::units::parse_duration;
use jumun_host::config::{Config, Sources, load as load_config};
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

/// Parses the duration of a flag, in the syntax of the configuration: `610ms`, `1s`, `2m`, `1d 12h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// Parses the id of an order.
pub(crate) fn parse_order(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| {
        let why = format!("`{text}` is not the id of an order");
        Failure::new("order-unclear", why, "Write the number of the order, as in `jumun why 7`.")
    })
}

/// A system, required unless the program has only one.
#[derive(Debug, Args)]
pub(crate) struct NamedSystemOptions {
    /// The name of the system. Optional if the program has only one.
    system: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingsOptions,
}

/// An optional system, as an argument.
#[derive(Debug, Args)]
pub(crate) struct SystemOptions {
    /// The name of the system. Default: the only one; of several, the one with data in the data folder, or that is up.
    system: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// An optional system, as a flag: for commands whose arguments are services.
#[derive(Debug, Args)]
pub(crate) struct SystemFlagOptions {
    /// The name of the system. Default: the only one; of several, the one with data in the data folder, or that is up.
    #[arg(long)]
    system: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// An optional system, then what the command is about. Two plain arguments, because clap does not find a missing one where
/// a flag stands between the two.
#[derive(Debug, Args)]
pub(crate) struct SubjectOptions {
    /// The name of the system. Optional; default: the only one; of several, the one with data in the data folder, or that is up.
    #[arg(value_name = "SYSTEM")]
    system_or_subject: String,
    #[arg(value_name = "SUBJECT")]
    subject: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// Where data and configuration are.
#[derive(Debug, Args)]
pub(crate) struct SettingsOptions {
    /// The folder that contains the data of all systems.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// The configuration file. Default: ./jumun.toml, if it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder with one file per key, named after the key (order.listen), as Kubernetes mounts config maps.
    #[arg(long, value_name = "FOLDER")]
    config_dir: Option<PathBuf>,
    /// Adds this number to all default ports; the same as `--set port_offset=N`.
    #[arg(long, value_name = "N")]
    pub(crate) port_offset: Option<u16>,
    /// Sets one configuration key; overrides files and environment.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in payment.decline_over=50000")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl NamedSystemOptions {
    pub(crate) fn load(&self, systems: Systems<'_>) -> Result<(SystemModel, Config), Failure> {
        self.settings.load_named(systems, self.system.as_deref())
    }
}

impl SystemOptions {
    pub(crate) fn load(&self, systems: Systems<'_>) -> Result<(SystemModel, Config), Failure> {
        self.settings.load(systems, self.system.as_deref())
    }
}

impl SubjectOptions {
    pub(crate) fn load(&self, systems: Systems<'_>) -> Result<(SystemModel, Config), Failure> {
        self.settings.load(systems, self.system())
    }

    /// The same, with the system required unless the program has only one.
    pub(crate) fn load_named(&self, systems: Systems<'_>) -> Result<(SystemModel, Config), Failure> {
        self.settings.load_named(systems, self.system())
    }

    fn system(&self) -> Option<&str> {
        self.subject.as_ref().map(|_| self.system_or_subject.as_str())
    }

    pub(crate) fn subject(&self) -> &str {
        self.subject.as_ref().unwrap_or(&self.system_or_subject)
    }

    /// The subject as the id of an order.
    pub(crate) fn order(&self) -> Result<i64, Failure> {
        parse_order(self.subject())
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

    /// The named system, or the only one of the program.
    pub(crate) fn load_named(
        &self,
        systems: Systems<'_>,
        named: Option<&str>,
    ) -> Result<(SystemModel, Config), Failure> {
        let model = systems.named(named)?;
        let config = load_config(&model, &self.sources())?;
        Ok((model, config))
    }

    /// The named system, the only one of the program, or the one in the data folder.
    pub(crate) fn find(&self, systems: Systems<'_>, named: Option<&str>) -> Result<SystemModel, Failure> {
        if named.is_some() || systems.0.len() == 1 {
            return systems.named(named);
        }
        let name = |folder: &Path| folder.file_name().and_then(OsStr::to_str).map(str::to_owned);
        let is_system = |folder: &Path| name(folder).is_some_and(|name| systems.find(&name).is_ok());
        let data = self.data.display();
        let names =
            |folders: &[PathBuf]| folders.iter().filter_map(|folder| name(folder)).collect::<Vec<_>>().join(", ");
        let folder = only_folder(&self.data, is_system).map_err(|error| match error {
            NoFolder::NoCandidate => Failure::new(
                "not-up",
                format!("nothing is up in {data}, and it contains no data of a system"),
                "Start a system with `jumun up <system>`, or name the folder of its data with --data.",
            ),
            NoFolder::NoneUp(folders) => Failure::new(
                "not-up",
                format!("several systems have data in {data}, and none of them is up"),
                format!("Name the system in the command: {}.", names(&folders)),
            ),
            NoFolder::SeveralUp => {
                let remedy = "Name the system in the command (see its --help).";
                Failure::new("system-unclear", "more than one system is up here", remedy)
            }
        })?;
        systems.find(&name(&folder).unwrap_or_default())
    }

    /// These flags as arguments of a child process.
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
