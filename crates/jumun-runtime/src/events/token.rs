//! Names of events.

use std::{fmt, str::FromStr};

/// Names an event, as in `Jumun-Seen` and `jumun events`: `order/0/7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The source.
    pub service: String,
    /// The partition.
    pub partition: u16,
    /// Its number there.
    pub sequence: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.service, self.partition, self.sequence)
    }
}

impl FromStr for Token {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(service), Some(partition), Some(sequence), None) if !service.is_empty() => Ok(Self {
                service: service.to_owned(),
                partition: partition.parse().map_err(drop)?,
                sequence: sequence.parse().map_err(drop)?,
            }),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_wire() {
        let token = Token { service: "order".into(), partition: 3, sequence: 7 };
        assert_eq!(token.to_string().parse(), Ok(token));
        for bad in ["", "order", "order/0", "order/0/7/1", "/0/7", "order/x/7", "order/0/-1"] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
