//! What the tests of several crates share: a test that runs itself again as a child process, to be killed or to have a
//! disk of its own. And what their benchmarks share, and the servers that adapters are for.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

pub mod servers;

use std::{
    env, fs,
    hash::{BuildHasher, Hasher, RandomState},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// How long a row of a benchmark takes: as many seconds as its command line says, or else this many.
pub fn length_of_a_row(seconds: u64) -> Duration {
    // Cargo passes `--bench`.
    let said = env::args().skip(1).find_map(|argument| argument.parse().ok());
    Duration::from_secs(said.unwrap_or(seconds))
}

/// A folder for a benchmark, in its `CARGO_TARGET_TMPDIR`, and so on the disk that the build is on: /tmp may be memory,
/// where an fsync costs nothing.
pub fn folder_on_a_disk(target: &str) -> TempDir {
    tempfile::tempdir_in(target).unwrap()
}

/// Names that a person could not tell from an empty one, or that change what is shown around them: no text of people is one.
pub const UNFIT_NAMES: [&str; 13] = [
    "\u{3164}",
    "\u{200b}",
    "\u{feff}",
    "\u{0}",
    "\u{202e}",
    "\u{1b}[2J",
    "\u{2800}",
    "\u{115f}\u{1160}",
    "\u{301}",
    "kim\nlee",
    "a\u{9b}31m",
    "\u{202e}abc",
    "\u{202e}abc\u{9b}31m",
];

/// Files of configuration: a `jumun.toml`, and a folder with a file for each value, as Kubernetes mounts them. They are there
/// as long as the returned folder.
pub fn configuration(toml: &str, mounted: &[(&str, &str)]) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (file, values) = (folder.path().join("jumun.toml"), folder.path().join("values"));
    fs::write(&file, toml).unwrap();
    fs::create_dir(&values).unwrap();
    for (name, value) in mounted {
        fs::write(values.join(name), value).unwrap();
    }
    (folder, file, values)
}

/// A random number from 1 to `below`.
pub fn random(below: u128) -> usize {
    let random = u128::from(RandomState::new().build_hasher().finish());
    usize::try_from(random % below + 1).unwrap()
}

/// Runs this test again as a child, with a variable of the environment by which it knows that it is the child, and
/// kills it (`kill -9`) once `note` has counted this many of its lines. `note` sees every line that the child printed,
/// those from just before its death included, and says whether the line counts.
///
/// # Panics
/// Where the child ends by itself.
pub fn run_and_kill(test: &str, variable: (&str, &Path), kill_after: usize, mut note: impl FnMut(&str) -> bool) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(variable.0, variable.1)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut counted = 0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while counted < kill_after {
        // No line: the child has ended by itself, which the status shows.
        let Some(line) = lines.next() else { break };
        counted += usize::from(note(&line.unwrap()));
    }
    child.kill().unwrap();
    for line in lines {
        note(&line.unwrap());
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "the child was not killed, it ended");
    assert!(counted >= kill_after);
}

/// The variable by which the child of [`on_a_small_disk`] knows where its disk is.
pub const SMALL_DISK: &str = "JUMUN_TEST_SMALL_DISK";

/// Runs this test again as a child, in a mount namespace of its own, with a disk of 4 MiB in memory: no other process
/// of this machine sees it, and it is gone when the child is.
///
/// # Panics
/// Where the child fails, or the machine permits no such namespace: it takes Linux, and root or unprivileged user
/// namespaces.
pub fn on_a_small_disk(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut unshare = Command::new("unshare");
    unshare.arg(if rustix::process::getuid().is_root() { "-m" } else { "-rm" });
    let script = r#"mount -t tmpfs -o size=4m jumun-test "$1" || exit 99; JUMUN_TEST_SMALL_DISK="$1" exec "$2" --exact --nocapture "$3""#;
    let mut child = unshare
        .args(["sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .arg(test)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("this test needs the program `unshare` of util-linux");
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    let status = child.wait().unwrap();
    assert!(
        status.success() && output.contains("1 passed"),
        "{status}: {output}\nThis test mounts a tiny tmpfs in a mount namespace of its own. If that is what failed: it \
         needs root, or unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns)."
    );
}
