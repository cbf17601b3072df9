//! PostgreSQL 15, from Debian's package, with the durability that it has by default.

use super::{
    Failure,
    machine::{self, User},
    of_file,
};
use std::{fs, path::Path, process::Command};

/// The release of which the package is.
const PACKAGE: &str = "postgresql-15";

/// What makes its certificate.
const OPENSSL: &str = "/usr/bin/openssl";

/// Where the package puts the programs of the server.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

pub(super) fn start(folder: &Path, is_durable: bool) -> Result<String, Failure> {
    let url = folder.join("url");
    if !Path::new(PROGRAMS).join("initdb").exists() {
        machine::install(&[PACKAGE], folder)?;
    }
    if !Path::new(OPENSSL).exists() {
        machine::install(&["openssl"], folder)?;
    }
    let user = User::of_server("postgres")?;
    if !url.exists() {
        let _ = fs::remove_dir_all(folder.join("data")); // of a start that was interrupted
        let address = create(user, folder, is_durable)?;
        control(user, folder, &["--wait", "--timeout=60", "start"])?;
        machine::write_secret(&url, &address)?;
    } else if !runs(folder) {
        control(user, folder, &["--wait", "--timeout=60", "start"])?;
    }
    fs::read_to_string(&url).map_err(of_file(&url))
}

/// Makes an empty cluster. Returns the address that it will have.
fn create(user: User, folder: &Path, is_durable: bool) -> Result<String, Failure> {
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
    certify(user, folder)?;
    let port = machine::free_port()?;
    let (socket, here) = (socket.display(), folder.display());
    let fsync = if is_durable { "on" } else { "off" };
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{socket}'\nmax_connections = 500\n\
         fsync = {fsync}\nssl = on\nssl_cert_file = '{here}/{CERTIFICATE}'\nssl_key_file = '{here}/{KEY}'\n"
    );
    let file = folder.join("data/postgresql.conf");
    let defaults = fs::read_to_string(&file).map_err(of_file(&file))?;
    fs::write(&file, defaults + &settings).map_err(of_file(&file))?;
    Ok(format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres"))
}

const CERTIFICATE: &str = "certificate.pem";

const KEY: &str = "key.pem";

/// Makes a certificate of this machine that nobody else trusts.
fn certify(user: User, folder: &Path) -> Result<(), Failure> {
    let mut command = user.command(Path::new(OPENSSL), folder)?;
    command.args(["req", "-new", "-x509", "-days", "30", "-nodes", "-subj", "/CN=localhost"]);
    command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", KEY, "-out", CERTIFICATE]);
    for extension in ["subjectAltName=DNS:localhost,IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"] {
        command.args(["-addext", extension]);
    }
    machine::run(&mut command, folder)
}

pub(super) fn stop(folder: &Path) -> Result<(), Failure> {
    if !runs(folder) {
        return Ok(());
    }
    // Its data is deleted next: nothing is worth writing to the disk.
    control(User::of_server("postgres")?, folder, &["--mode=immediate", "--wait", "stop"])
}

pub(super) fn kill(folder: &Path) -> Result<(), Failure> {
    let data = folder.join("data").canonicalize().map_err(of_file(folder))?;
    let process = process_of(folder).ok_or_else(|| format!("{}: no server runs here", folder.display()))?;
    machine::kill(process)?;
    // Its other processes end when they see that, and until then no server starts on their data.
    machine::wait_until("other processes of the server do not end", || !machine::is_at_work_in(&data))?;
    // If the process is not forgotten by its parent, this file would still name it.
    let file = data.join(PROCESS);
    fs::remove_file(&file).map_err(of_file(&file))
}

/// The file that names the process of a server that runs.
const PROCESS: &str = "postmaster.pid";

pub(super) fn runs(folder: &Path) -> bool {
    process_of(folder).is_some_and(machine::is_running)
}

fn process_of(folder: &Path) -> Option<i32> {
    fs::read_to_string(folder.join("data").join(PROCESS)).ok()?.lines().next()?.parse().ok()
}

fn control(user: User, folder: &Path, arguments: &[&str]) -> Result<(), Failure> {
    machine::run(pg_ctl(user, folder)?.args(arguments), folder)
}

fn pg_ctl(user: User, folder: &Path) -> Result<Command, Failure> {
    let mut command = user.command(&Path::new(PROGRAMS).join("pg_ctl"), folder)?;
    command.arg("--pgdata").arg(folder.join("data")).arg("--log").arg(folder.join("log"));
    Ok(command)
}
