//! Faults on demand, as an operator asks for them: the keys of `[<service>.faults]` and the message of `jumun fault`.

use crate::limits::{FAULT_CPU_MAX, FAULT_DELAY_MAX, FAULT_START_DELAY_MAX};
use jumun_config::{
    Invalid, Section, check, section, settings_by_serde,
    units::{format_duration, parse_duration},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr, time::Duration};

section! {
    /// Faults for drills; by default none.
    #[derive(Copy)]
    pub struct Faults {
        /// How long a command is delayed: drawn uniformly, `400ms..620ms`, or `500ms` for always the same.
        pub delay: Delay = Delay::default(),
        /// The share of commands that are answered 500 and not done, from 0 to 1.
        pub fail: f64 = 0.0,
        /// Commands in progress at once, others queue as long as admission lets them; 0: no such limit.
        pub concurrency: u32 = 0,
        /// Processor time that each command burns.
        pub cpu: Duration = Duration::ZERO,
        /// How much longer the start of the service takes.
        pub start_delay: Duration = Duration::ZERO,
    }
}

/// A time between two others, drawn uniformly: `400ms..620ms`; or `500ms` for always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delay {
    /// The shortest.
    pub from: Duration,
    /// The longest.
    pub to: Duration,
}

settings_by_serde!(Delay: "duration or range of durations");

impl Section for Faults {
    fn check(&self) -> Result<(), Invalid> {
        check::within("delay", &self.delay.to, &(Duration::ZERO..=FAULT_DELAY_MAX))?;
        check::within("fail", &self.fail, &(0.0..=1.0))?;
        check::within("cpu", &self.cpu, &(Duration::ZERO..=FAULT_CPU_MAX))?;
        check::within("start_delay", &self.start_delay, &(Duration::ZERO..=FAULT_START_DELAY_MAX))
    }
}

impl Faults {
    /// Whether any of them affects a command.
    pub fn are_any(&self) -> bool {
        let Self { delay, fail, concurrency, cpu, start_delay: _ } = self;
        *delay != Delay::default() || *fail > 0.0 || *concurrency > 0 || !cpu.is_zero()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delay, fail, concurrency, cpu, start_delay: _ } = self;
        let mut parts = Vec::new();
        if *delay != Delay::default() {
            parts.push(format!("each command is delayed by {delay}"));
        }
        if *fail > 0.0 {
            parts.push(format!("{} % of commands are answered 500", fail * 100.0));
        }
        if *concurrency > 0 {
            parts.push(format!("{concurrency} commands are in progress at once"));
        }
        if !cpu.is_zero() {
            parts.push(format!("each command burns {} of processor time", format_duration(*cpu)));
        }
        f.write_str(&if parts.is_empty() { "none".to_owned() } else { parts.join(", ") })
    }
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let delay = Self {
            from: parse_duration(from).map_err(|error| error.to_string())?,
            to: parse_duration(to).map_err(|error| error.to_string())?,
        };
        if delay.from <= delay.to { Ok(delay) } else { Err(format!("`{text}` goes backwards; write 400ms..620ms")) }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.from))?;
        if self.from == self.to { Ok(()) } else { write!(f, "..{}", format_duration(self.to)) }
    }
}

impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(keys: Value) -> Faults {
        jumun_config::read(keys).expect("faults")
    }

    #[test]
    fn faults_are_read_as_they_are_written() {
        let keys =
            json!({ "delay": "400ms..620ms", "fail": 0.1, "concurrency": 30, "cpu": "5ms", "start_delay": "2s" });
        let faults = read(keys.clone());
        assert_eq!(serde_json::to_value(faults).expect("JSON"), keys);
        let text = "each command is delayed by 400ms..620ms, 10 % of commands are answered 500, 30 commands are in progress \
                    at once, each command burns 5ms of processor time";
        assert_eq!(faults.to_string(), text);
        assert_eq!(read(json!({ "delay": "500ms" })).delay.to_string(), "500ms");
        assert_eq!(Faults::default().to_string(), "none");
        assert!(!Faults::default().are_any() && faults.are_any());
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (keys, named) in [
            (json!({ "delay": "620ms..400ms" }), "backwards"),
            (json!({ "delay": "2m" }), "`delay`"),
            (json!({ "fail": 1.5 }), "`fail`"),
            (json!({ "cpu": "1h" }), "`cpu`"),
            (json!({ "start_delay": "1h" }), "`start_delay`"),
        ] {
            let error = jumun_config::read::<Faults>(keys).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
