//! Encryption of connections, and whom a connection trusts.

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::{path::PathBuf, sync::Arc};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What `sslmode` says. By default, connections that stay on this machine are not encrypted, and all others are encrypted
/// and verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Tls {
    /// `disable`: not encrypted.
    Disable,
    /// `require`: encrypted, with whoever answers.
    Require,
    /// `verify-full`: encrypted, and the server is the one of that name, by the certificates in this file (`sslrootcert`),
    /// or by those of the public authorities.
    Verify(Option<PathBuf>),
}

impl Tls {
    pub(super) fn parse(mode: Option<&str>, root: Option<&str>, is_local: bool) -> Result<Self, String> {
        match mode {
            None if is_local && root.is_none() => Ok(Self::Disable),
            Some("disable") => Ok(Self::Disable),
            Some("require") if root.is_none() => Ok(Self::Require),
            None | Some("require" | "verify-full") => Ok(Self::Verify(root.map(PathBuf::from))),
            Some(other) => Err(format!("`sslmode={other}` is unknown; write disable, require or verify-full")),
        }
    }

    /// What encrypts a connection. `None`: nothing does.
    pub(super) fn connector(&self) -> Result<Option<MakeRustlsConnect>, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let config = match self {
            Self::Disable => return Ok(None),
            Self::Require => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))),
            Self::Verify(file) => builder.with_root_certificates(roots(file.as_ref())?),
        };
        Ok(Some(MakeRustlsConnect::new(config.with_no_client_auth())))
    }
}

fn roots(file: Option<&PathBuf>) -> Result<RootCertStore, String> {
    let Some(file) = file else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let unusable = |error: &dyn std::fmt::Display| format!("sslrootcert {}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
        roots.add(certificate.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() { Err(unusable(&"there is no certificate in it")) } else { Ok(roots) }
}

/// Trusts any certificate: what `sslmode=require` means. It keeps out who only listens.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
