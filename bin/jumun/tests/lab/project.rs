//! A project of a user of Jumun: made by `jumun new`, outside this workspace, built as he builds it.

use super::{run, service::JUMUN};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// The services of a new project.
pub(crate) const SHOP_SERVICES: [&str; 3] = ["order", "payment", "receipt"];

/// A project in a folder of its own.
pub(crate) struct Project {
    name: &'static str,
    parent: TempDir,
}

impl Project {
    /// `jumun new`. Names differ between tests, because their programs share a folder.
    pub(crate) fn new(name: &'static str) -> Self {
        let parent = TempDir::with_prefix("jumun-project-").expect("a folder");
        let mut command = Command::new(JUMUN);
        // The checkout is named: the program may come from a target folder that was copied from another one.
        command.args(["new", name, "--in"]).arg(parent.path()).arg("--jumun").arg(workspace());
        let (status, said) = run(command);
        assert_eq!(status, 0, "{said}");
        Self { name, parent }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.parent.path().join(self.name)
    }

    /// The program, once it is built.
    pub(crate) fn program(&self) -> PathBuf {
        target().join("debug").join(self.name)
    }

    /// Runs cargo in the project, offline, and accepts no warning. It shares the target folder of this workspace: most
    /// dependencies are there already, with the same versions, features and profile.
    pub(crate) fn cargo(&self, task: &str) {
        let mut command = Command::new(env!("CARGO"));
        command.args([task, "--offline", "--color", "never"]).current_dir(self.folder());
        let output = command.env("CARGO_TARGET_DIR", target()).output().expect("cargo");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && !said.contains("warning: "), "cargo {task}: {said}");
    }
}

/// The workspace, as cargo names it to this test; the one of the build may be another checkout that shares the target folder.
fn workspace() -> PathBuf {
    let folder =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    folder.join("../..").canonicalize().expect("the workspace")
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder")
}
