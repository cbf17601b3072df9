//! What the tests have in common: messages, templates, certificates, servers.

pub(crate) mod http;
pub(crate) mod smtp;

use jumun_sender::{Message, SenderConfig};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const DEFAULTS: &[(&str, &str, &str)] = &[
    ("ko", "Ordered", "신청 {{ orderId }} 접수\n\n{{ customerId }}님의 신청이 접수되었어요.\n.\n강의: {{ eduNo }}\n"),
    ("ko", "Paid", "결제 완료\n\n결제되었어요.\n"),
    ("en", "Ordered", "Application {{ orderId }}\n\nWe have your application, {{ customerId }}.\n"),
    ("en", "Paid", "Paid\n\nThank you.\n"),
];

pub(crate) fn message(id: &str) -> Message {
    let Value::Object(fields) = json!({ "orderId": 7, "customerId": "kim", "eduNo": 101, "status": null }) else {
        unreachable!("an object")
    };
    let (id, recipient, template) = (id.to_owned(), "kim".to_owned(), "Ordered".to_owned());
    Message { id, recipient, template, fields, time_ms: 1_663_830_408_970 }
}

/// What is configured, as a table.
pub(crate) fn config(table: Value) -> SenderConfig {
    SenderConfig::read(table).expect("a configuration")
}

/// A certificate for `localhost`: what a server shows, and the file by which it is trusted.
pub(crate) struct Certificate {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) file: PathBuf,
    _folder: tempfile::TempDir,
}

pub(crate) fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).expect("a file");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    Certificate { acceptor: TlsAcceptor::from(Arc::new(config)), file, _folder: folder }
}

/// Waits until something is there, looking now and then.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
