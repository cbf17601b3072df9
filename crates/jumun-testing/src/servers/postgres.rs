//! PostgreSQL 15, from Debian's package, with the durability that it has by default.

use super::{
    Failure,
    machine::{self, User},
    of_file,
};
use std::{fs, path::Path, process::Command};

/// The release of which the package is.
const PACKAGE: &str = "postgresql-15";

/// Where the package puts the programs of the server.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

pub(super) fn start(folder: &Path) -> Result<String, Failure> {
    let url = folder.join("url");
    if !Path::new(PROGRAMS).join("initdb").exists() {
        machine::install(&[PACKAGE], folder)?;
    }
    let user = User::of_server("postgres")?;
    if !url.exists() {
        let _ = fs::remove_dir_all(folder.join("data")); // of a start that was interrupted
        let address = create(user, folder)?;
        control(user, folder, &["--wait", "--timeout=60", "start"])?;
        machine::write_secret(&url, &address)?;
    } else if !runs(folder) {
        control(user, folder, &["--wait", "--timeout=60", "start"])?;
    }
    fs::read_to_string(&url).map_err(of_file(&url))
}

/// Makes an empty cluster. Returns the address that it will have.
fn create(user: User, folder: &Path) -> Result<String, Failure> {
    let (socket, password_file) = (folder.join("socket"), folder.join("password"));
    let password = machine::password()?;
    machine::write_secret(&password_file, &password)?;
    fs::create_dir_all(&socket).map_err(of_file(&socket))?;
    let mut command = user.command(&Path::new(PROGRAMS).join("initdb"), folder)?;
    for owned in [folder, &socket, &password_file, &folder.join("log")] {
        user.own(owned)?;
    }
    command.args(["--username=postgres", "--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8"]);
    command
        .args(["--locale=C.UTF-8", "--no-sync", "--pwfile"])
        .arg(&password_file)
        .arg("--pgdata")
        .arg(folder.join("data"));
    machine::run(&mut command, folder)?;
    let port = machine::free_port()?;
    let socket = socket.display();
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{socket}'\nmax_connections = 500\n"
    );
    let file = folder.join("data/postgresql.conf");
    let defaults = fs::read_to_string(&file).map_err(of_file(&file))?;
    fs::write(&file, defaults + &settings).map_err(of_file(&file))?;
    Ok(format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres"))
}

pub(super) fn stop(folder: &Path) -> Result<(), Failure> {
    if !runs(folder) {
        return Ok(());
    }
    // Its data is deleted next: nothing is worth writing to the disk.
    control(User::of_server("postgres")?, folder, &["--mode=immediate", "--wait", "stop"])
}

pub(super) fn kill(folder: &Path) -> Result<(), Failure> {
    let file = folder.join("data/postmaster.pid");
    let text = fs::read_to_string(&file).map_err(of_file(&file))?;
    let process = text.lines().next().and_then(|line| line.parse().ok());
    machine::kill(process.ok_or_else(|| format!("{}: there is no process", file.display()))?)
}

pub(super) fn runs(folder: &Path) -> bool {
    let status = |user: User| Ok(pg_ctl(user, folder)?.arg("status").status().is_ok_and(|status| status.success()));
    folder.join("data").exists() && User::of_server("postgres").and_then(status).unwrap_or(false)
}

fn control(user: User, folder: &Path, arguments: &[&str]) -> Result<(), Failure> {
    machine::run(pg_ctl(user, folder)?.args(arguments), folder)
}

fn pg_ctl(user: User, folder: &Path) -> Result<Command, Failure> {
    let mut command = user.command(&Path::new(PROGRAMS).join("pg_ctl"), folder)?;
    command.arg("--pgdata").arg(folder.join("data")).arg("--log").arg(folder.join("log"));
    Ok(command)
}
