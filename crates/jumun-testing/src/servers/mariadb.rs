//! MariaDB, from Debian's package of the server alone, with each commit flushed to disk.

use super::{
    Failure,
    machine::{self, User},
    of_file,
};
use std::{
    fs,
    io::Read,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    time::Duration,
};

/// The programs without a service that starts with the machine.
const PACKAGES: [&str; 2] = ["mariadb-server-core", "mariadb-client-core"];

const SERVER: &str = "/usr/sbin/mariadbd";

const INSTALL: &str = "/usr/bin/mariadb-install-db";

const USER: &str = "mysql";

pub(super) fn start(folder: &Path, is_durable: bool) -> Result<String, Failure> {
    if !Path::new(SERVER).exists() || !Path::new(INSTALL).exists() {
        machine::install(&PACKAGES, folder)?;
    }
    machine::make_user(USER, folder)?;
    let (user, url) = (User::of_server(USER)?, folder.join("url"));
    if !url.exists() {
        let _ = fs::remove_dir_all(folder.join("data")); // of a start that was interrupted
        let address = create(user, folder)?;
        serve(user, folder, is_durable)?;
        machine::write_secret(&url, &address)?;
    } else if !runs(folder) {
        serve(user, folder, is_durable)?;
    }
    fs::read_to_string(&url).map_err(of_file(&url))
}

/// Makes empty data. Returns the address that the server will have.
fn create(user: User, folder: &Path) -> Result<String, Failure> {
    let (first, password) = (folder.join("first.sql"), machine::password()?);
    machine::write_secret(&first, &format!("ALTER USER root@localhost IDENTIFIED BY '{password}';\n"))?;
    let port = machine::free_port()?;
    machine::write_secret(&folder.join("port"), &port.to_string())?;
    let mut command = user.command(Path::new(INSTALL), folder)?;
    for owned in [folder, &first, &folder.join("log")] {
        user.own(owned)?;
    }
    command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    command.arg(format!("--datadir={}", folder.join("data").display()));
    machine::run(&mut command, folder)?;
    Ok(format!("mysql://root:{password}@127.0.0.1:{port}/mysql"))
}

fn serve(user: User, folder: &Path, is_durable: bool) -> Result<(), Failure> {
    let file = folder.join("port");
    let text = fs::read_to_string(&file).map_err(of_file(&file))?;
    let port: u16 = text.parse().map_err(|error| format!("{}: {error}", file.display()))?;
    let mut command = user.command(Path::new(SERVER), folder)?;
    command.args(["--no-defaults", "--bind-address=127.0.0.1", "--character-set-server=utf8mb4"]);
    command.arg(format!("--innodb-flush-log-at-trx-commit={}", i32::from(is_durable)));
    command.arg(format!("--port={port}"));
    for (name, file) in
        [("datadir", "data"), ("socket", "socket"), ("init-file", "first.sql"), ("pid-file", "server.pid")]
    {
        command.arg(format!("--{name}={}", folder.join(file).display()));
    }
    let process = machine::start(&mut command)?;
    machine::write_secret(&folder.join("pid"), &process.to_string())?;
    let log = folder.join("log");
    machine::wait_until(&format!("the server is not ready, see {}", log.display()), || greets(port) || !runs(folder))?;
    if runs(folder) { Ok(()) } else { Err(format!("the server has ended, see {}", log.display())) }
}

/// Whether the server begins to talk to a client: it does when it has read its first statements.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok() && stream.read_exact(&mut [0; 5]).is_ok()
}

pub(super) fn stop(folder: &Path) -> Result<(), Failure> {
    machine::end(&process_of(folder).into_iter().collect::<Vec<_>>())
}

pub(super) fn kill(folder: &Path) -> Result<(), Failure> {
    machine::kill(process_of(folder).ok_or_else(|| format!("{}: no server runs here", folder.display()))?)
}

pub(super) fn runs(folder: &Path) -> bool {
    process_of(folder).is_some_and(machine::is_running)
}

fn process_of(folder: &Path) -> Option<i32> {
    fs::read_to_string(folder.join("pid")).ok()?.parse().ok()
}
