//! Where a service meets the world: HTTP for clients and neighbours, health for probes, a socket for operators.

mod health;
mod http;
mod operator;
mod server;
mod shared;

pub use server::{ServeError, Serving, serve};
