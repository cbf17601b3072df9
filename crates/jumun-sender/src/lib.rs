//! Messages to customers: one port, [`Sender`], with the adapters console, file, KakaoTalk, electronic mail and
//! webhook.
//!
//! A sender makes *one* attempt a call and returns its outcome. The caller keeps the message durably, and repeats it
//! under the same id: a message arrives at least once, and its id identifies the copies.
//!
//! What an outcome means, for every adapter alike:
//!
//! * [`SendError::Refused`]: the message itself is at fault, its recipient or its text. It would be refused again.
//! * [`SendError::NotSent`]: surely not sent. Whatever an operator can correct (a token, a permission, the address of
//!   a server) and whatever passes (a quota, maintenance, a receiver that is down) is of this kind: the message goes
//!   out once that is over.
//! * [`SendError::Unknown`]: it may have been sent.

mod channel;
mod config;
mod http;
mod kakaotalk;
pub mod limits;
mod lines;
mod message;
mod open;
mod secret;
mod smtp;
mod templates;
mod tls;
mod webhook;

pub use config::{
    FileConfig, InvalidConfig, KakaoTalkConfig, Kind, SendTo, SenderConfig, SmtpConfig, Tls, WebhookConfig,
};
pub use futures_util::future::BoxFuture;
pub use lines::console;
pub use message::{Message, Receipt, SendError, Sender};
pub use secret::Secret;
pub use templates::Templates;
