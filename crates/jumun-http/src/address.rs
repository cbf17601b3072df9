//! The address of a process, as configuration has it.

use http::{
    Uri,
    uri::{PathAndQuery, Scheme},
};
use jumun_config::{Setting, without_password};
use serde::{Deserialize, Deserializer, Serializer, de};
use std::{fmt, net::SocketAddr, str::FromStr};

/// The address of a process: `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Uri);

impl Address {
    /// The address as a URI with an empty path.
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.parse::<Uri>().ok();
        // A user and a password would be sent to nobody, and shown.
        let is_plain = |uri: &Uri| uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let is_whole = |uri: &Uri| uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
        let parsed = parsed.filter(|uri| is_plain(uri) && is_whole(uri));
        parsed.map(Self).ok_or_else(|| format!("`{}` is no address; write http://host:port", without_password(text)))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(address.to_string());
        let uri = uri.path_and_query(PathAndQuery::from_static("/")).build();
        Self(uri.unwrap_or_else(|error| unreachable!("{address} is an authority: {error}")))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

impl Setting for Address {
    const UNIT: &'static str = "http://host:port";

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["http://127.0.0.1:8081", "http://order", "http://[::1]:80"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("http://h:1/".parse::<Address>(), "http://h:1".parse());
        assert_eq!(Address::from(SocketAddr::from(([127, 0, 0, 1], 1))).to_string(), "http://127.0.0.1:1");
        for text in ["ftp://h", "h:1", "", "http://h/path", "https://h", "http://kim:s3cret@h", "http://h?a=b"] {
            assert_eq!(
                text.parse::<Address>(),
                Err(format!("`{}` is no address; write http://host:port", without_password(text)))
            );
        }
    }
}
