//! The real servers that adapters are for, from package registries, on free ports of 127.0.0.1.
//!
//! Each has a folder: data, log, and `url`, which is written once the server has answered. Nothing of it is anywhere else.

mod machine;
mod postgres;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
}

/// Why a server cannot be had.
pub type Failure = String;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Postgres];

    /// Its name in commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
        }
    }

    /// The variable by which tests get the address of a server of this kind.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "JUMUN_TEST_POSTGRES",
        }
    }
}

/// A server and its folder.
#[derive(Debug, Clone)]
pub struct Server {
    kind: Kind,
    folder: PathBuf,
}

impl Server {
    /// The server of this folder, whether it runs or not.
    pub fn new(kind: Kind, folder: PathBuf) -> Self {
        Self { kind, folder }
    }

    /// Starts the server, unless it runs, and returns its address.
    ///
    /// # Errors
    /// Why it does not run.
    pub fn start(&self) -> Result<String, Failure> {
        fs::create_dir_all(&self.folder).map_err(of_file(&self.folder))?;
        let folder = self.folder.canonicalize().map_err(of_file(&self.folder))?;
        match self.kind {
            Kind::Postgres => postgres::start(&folder),
        }
    }

    /// Ends the server as a power cut would. Its folder is as it left it.
    ///
    /// # Errors
    /// Where it still runs.
    pub fn kill(&self) -> Result<(), Failure> {
        match self.kind {
            Kind::Postgres => postgres::kill(&self.folder),
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
            Kind::Postgres => postgres::stop(&self.folder)?,
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
            Kind::Postgres => postgres::runs(&self.folder),
        };
        if runs { Ok(url) } else { Err(format!("has ended; see {}", self.folder.join("log").display())) }
    }
}

/// A server that one process uses. It ends with this value; one of a process that was killed ends when the next one starts.
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
        let server = Server::new(kind, all.join(format!("{OWN}{}", process::id())).join(kind.name()));
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

/// Ends the servers of processes that were killed.
fn remove_left_over(all: &Path) {
    for folder in fs::read_dir(all).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(process) = name.strip_prefix(OWN) else { continue };
        if process.parse().is_ok_and(machine::is_running) {
            continue;
        }
        for kind in Kind::ALL {
            if let Err(why) = Server::new(kind, folder.join(kind.name())).remove() {
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
