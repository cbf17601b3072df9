//! Listening sockets.

use crate::{error::SuperviseError, spec::Spec};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// Connections in the accept queue of a socket.
const BACKLOG: i32 = 4_096;

/// Binds the sockets of all processes that begin at once. Changes nothing else, and fails if an address is taken.
pub fn bind(specs: &[Spec]) -> Result<Vec<Option<TcpListener>>, SuperviseError> {
    let bind = |spec: &Spec| {
        let failed = |why| SuperviseError::Listen { name: spec.name.clone(), address: spec.listen, why };
        (!spec.begins_stopped).then(|| listen(spec.listen).map_err(failed)).transpose()
    };
    specs.iter().map(bind).collect()
}

/// Opens a listening socket. It can reuse the port of a killed process at once.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}
