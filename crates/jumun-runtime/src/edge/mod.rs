//! The interfaces of a service: HTTP for clients and neighbours, health for probes, a socket for operators.

mod commands;
mod exchange;
mod followers;
mod health;
mod http;
mod operator;
mod readiness;
mod reads;
mod request;
mod server;
mod shared;
mod together;
mod wanted;

pub use server::{ServeError, Serving, Socket, serve};
