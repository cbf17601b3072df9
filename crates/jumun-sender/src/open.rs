//! From a configuration to its sender.

use crate::{
    InvalidConfig, Kind, Sender, SenderConfig, Templates, channel::Templated, http::Http, kakaotalk::KakaoTalk, limits,
    lines, smtp::Smtp, templates::read_small, webhook::Webhook,
};
use jumun_config::Section;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{io, path::Path, sync::Arc};

impl SenderConfig {
    /// Opens the sender. `defaults` are the system's own templates as language, name and text. It makes no connection.
    ///
    /// # Errors
    /// An invalid value or template.
    pub fn open(&self, defaults: &[(&str, &str, &str)]) -> Result<Arc<dyn Sender>, InvalidConfig> {
        self.check()?;
        let templates = Templates::load(defaults, &self.language, given(&self.templates))?;
        let authorities = self.authorities()?;
        let time_limit = self.time_limit;
        let http =
            || Http::new(time_limit, &authorities).map_err(|error| InvalidConfig::value("ca_file", error.to_string()));
        Ok(match self.kind {
            Kind::Console => lines::console(io::stderr(), templates, time_limit)?,
            Kind::File => lines::file(&self.file.path, templates, time_limit)?,
            Kind::KakaoTalk => Arc::new(Templated { templates, channel: KakaoTalk::new(&self.kakaotalk, http()?)? }),
            Kind::Smtp => Arc::new(Templated { templates, channel: Smtp::new(&self.smtp, time_limit, &authorities)? }),
            Kind::Webhook => Arc::new(Templated { templates, channel: Webhook::new(&self.webhook, http()?)? }),
        })
    }

    fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, InvalidConfig> {
        let Some(path) = given(&self.ca_file) else { return Ok(Vec::new()) };
        let invalid = |why: String| InvalidConfig::value("ca_file", format!("{}: {why}", path.display()));
        let text = read_small(path, limits::SMALL_FILE_MAX_BYTES).map_err(|error| invalid(error.to_string()))?;
        let read = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let authorities = read.map_err(|error| invalid(error.to_string()))?;
        if authorities.is_empty() { Err(invalid("has no certificate".into())) } else { Ok(authorities) }
    }
}

/// A path that may be empty: then it is not configured.
fn given(path: &Path) -> Option<&Path> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}
