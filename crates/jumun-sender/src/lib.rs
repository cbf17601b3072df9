//! How customers are told of what happens: one port, [`Sender`], and behind it the console, a file, KakaoTalk,
//! electronic mail and webhooks.
//!
//! A sender makes *one* attempt a call and says what came of it. Whoever calls keeps the message durably, and sends it
//! again under the same id for as long as it likes: a message arrives at least once, and its id tells the copies apart.
//!
//! What an outcome means, for every adapter alike:
//!
//! * [`SendError::Refused`]: the message itself is at fault, its recipient or its text. It would be refused again.
//! * [`SendError::NotSent`]: surely not sent. What an operator can put right (a token, a permission, an address of a
//!   server) and what passes by itself (a quota, maintenance, a receiver that is down) is of this kind: the message
//!   goes out once that is over.
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
