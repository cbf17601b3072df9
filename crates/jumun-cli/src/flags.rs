//! Parsers of flag values that several commands share.

use jumun_config::units::parse_duration;
use std::time::Duration;

/// A duration in the syntax of the configuration: `610ms`, `1s`, `2m`, `1d 12h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}
