//! What every sender promises, and what each says to its receiver. The receivers are real servers on this machine.

mod config;
mod conformance;
mod kakaotalk;
mod lines;
mod smtp;
mod support;
mod templates;
mod webhook;
