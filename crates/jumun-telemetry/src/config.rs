//! The configuration of telemetry: the table `[telemetry]`, or else the variables of OpenTelemetry (*OpenTelemetry
//! Environment Variable Specification*).

use http::Uri;
use jumun_config::{Invalid, Section, check, section};

/// The share of traces that are recorded where nothing is configured.
const SAMPLE: f64 = 0.01;

/// What an address of a collector is extended by for traces.
const TRACES_PATH: &str = "/v1/traces";

section! {
    /// The export of spans.
    pub struct TelemetryConfig {
        /// The collector that takes spans: `http://host:4318`. By default that of the variables
        /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and `OTEL_EXPORTER_OTLP_ENDPOINT`; without those, spans are not exported.
        pub otlp: Option<String> = None,
        /// The share of traces that are recorded, from 0 to 1. By default that of the variable `OTEL_TRACES_SAMPLER_ARG`, or
        /// else 0.01.
        pub sample: Option<f64> = None,
    }
}

/// The collector that takes spans, and the share of traces that it gets.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpConfig {
    /// Where a collector takes traces: `http://host:4318/v1/traces`.
    pub endpoint: String,
    /// The share of traces that begin here and are recorded, from 0 to 1. A trace that began elsewhere says itself.
    pub sample: f64,
}

impl Section for TelemetryConfig {
    fn check(&self) -> Result<(), Invalid> {
        self.sample.map_or(Ok(()), |sample| check::share("sample", sample))
    }
}

impl TelemetryConfig {
    /// The export of spans under this configuration and these variables of the environment. None: spans are not exported.
    ///
    /// # Errors
    /// Names the key from the root (`telemetry.otlp`) or the variable.
    pub fn otlp(
        &self,
        variable: impl Fn(&str) -> Result<Option<String>, Invalid>,
    ) -> Result<Option<OtlpConfig>, Invalid> {
        let set = |name: &str| variable(name).map(|value| value.filter(|value| !value.is_empty()));
        let configured = self.otlp.as_ref().filter(|base| !base.is_empty());
        if configured.is_none() && set("OTEL_SDK_DISABLED")?.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let (traces, all) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
        let below = |base: &str| format!("{}{TRACES_PATH}", base.trim_end_matches('/'));
        let endpoint = match configured {
            Some(base) => Some(("telemetry.otlp", below(base))),
            None => match set(traces)? {
                Some(url) => Some((traces, url)),
                None => set(all)?.map(|base| (all, below(&base))),
            },
        };
        let sample = match (self.sample, set("OTEL_TRACES_SAMPLER_ARG")?) {
            (Some(sample), _) => sample,
            (None, Some(text)) => {
                let sample = text.parse().unwrap_or(f64::NAN);
                check::share("OTEL_TRACES_SAMPLER_ARG", sample)?;
                sample
            }
            (None, None) => SAMPLE,
        };
        let Some((key, endpoint)) = endpoint else { return Ok(None) };
        let is_url = |url: &Uri| url.scheme_str() == Some("http") && url.authority().is_some();
        if !endpoint.parse().is_ok_and(|url| is_url(&url)) {
            return Err(Invalid::new(key, format!("`{endpoint}` is no collector; write http://host:4318")));
        }
        Ok(Some(OtlpConfig { endpoint, sample }))
    }

    /// The configuration in effect, as it may be written into `jumun.toml`.
    pub fn in_effect(otlp: Option<&OtlpConfig>) -> Self {
        match otlp {
            Some(OtlpConfig { endpoint, sample }) => {
                let base = endpoint.strip_suffix(TRACES_PATH).unwrap_or(endpoint);
                Self { otlp: Some(base.to_owned()), sample: Some(*sample) }
            }
            None => Self { otlp: None, sample: Some(SAMPLE) },
        }
    }
}
