//! Both ends of the operator's protocol over a real socket.

use jumun_control::{
    BreakerCommand, CommandBreaker, Control, ControlError, DiscardParked, Discarded, GetFaults, RebuildProgress,
    RebuildReport, RebuildView, Refused, RetryParked, Routes, follow, socket_in, tell,
};
use jumun_guard::State;
use std::{path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

struct Process {
    folder: TempDir,
    _control: Control,
}

impl Process {
    fn start(routes: Routes) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let control = Control::listen(&socket_in(folder.path(), "order"), routes).expect("a socket");
        Self { folder, _control: control }
    }

    fn socket(&self) -> PathBuf {
        socket_in(self.folder.path(), "order")
    }
}

#[tokio::test]
async fn a_call_gets_the_reply_of_its_type() {
    let routes = Routes::new().on(async |call: CommandBreaker| {
        assert_eq!(call.callee, "payment");
        Ok(if call.command == BreakerCommand::ForceOpen { State::ForcedOpen } else { State::Closed })
    });
    let process = Process::start(routes);
    let call = CommandBreaker { callee: "payment".into(), command: BreakerCommand::ForceOpen };
    assert_eq!(tell(&process.socket(), &call).await.expect("a reply"), State::ForcedOpen);
}

#[tokio::test]
async fn a_refusal_says_why() {
    let routes = Routes::new().on(async |_: DiscardParked| Err::<Discarded, _>(Refused::new("nothing is parked")));
    let process = Process::start(routes);
    let error = tell(&process.socket(), &DiscardParked { order: 7 }).await.expect_err("a refusal");
    assert_eq!((error.code(), &*error.to_string()), ("service-refused", "the service says: nothing is parked"));
    let error = tell(&process.socket(), &RetryParked { order: None }).await.expect_err("no such call here");
    assert_eq!(error.code(), "service-refused");
}

#[tokio::test]
async fn a_followed_call_gets_every_report_and_ends_when_it_is_told_to() {
    let progress = |events| RebuildReport::Progress(RebuildProgress { events, of: 9, rate: 1 });
    let routes = Routes::new().on_follow(move |_: RebuildView| {
        let (reports, receiver) = Routes::channel();
        tokio::spawn(async move {
            for events in 0..100 {
                if reports.send(progress(events)).await.is_err() {
                    return;
                }
            }
        });
        receiver
    });
    let process = Process::start(routes);
    let mut seen = Vec::new();
    let call = RebuildView { view: "dashboard".into() };
    follow(&process.socket(), &call, |report| {
        seen.push(report);
        true
    })
    .await
    .expect("reports");
    assert_eq!(seen, (0..100).map(progress).collect::<Vec<_>>());
    let mut count = 0;
    follow(&process.socket(), &call, |_| {
        count += 1;
        count < 3
    })
    .await
    .expect("reports");
    assert_eq!(count, 3);
}

#[tokio::test]
async fn a_socket_that_was_deleted_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let socket = socket_in(&data, "order");
    let control = Control::listen_and_keep_folder(&socket, Routes::new()).expect("a socket");
    for gone in [&socket, &data] {
        if gone.is_dir() { std::fs::remove_dir_all(gone) } else { std::fs::remove_file(gone) }.expect("deleted");
        let again = async {
            while UnixStream::connect(&socket).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), again).await.expect("it is made again");
    }
    // Another one follows it, and makes no folder of its own.
    let other = socket_in(&data, "payment");
    let second = Control::listen(&other, Routes::new()).expect("a socket");
    std::fs::remove_dir_all(&data).expect("deleted");
    let again = async {
        while !other.exists() {
            assert!(socket.exists() || !data.exists());
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("it is made again");
    drop((second, control));
    assert!(!data.exists(), "a folder that was moved away can be moved back");
}

/// A folder that was moved away is moved back into one that is still there, instead of to its place.
#[tokio::test]
async fn a_folder_that_was_made_for_the_socket_alone_goes_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (made, kept) = (folder.path().join("made"), folder.path().join("kept"));
    std::fs::create_dir(&kept).expect("a folder");
    for is_used in [true, false] {
        let here = Control::listen(&socket_in(&made, "up"), Routes::new()).expect("a socket");
        let there = Control::listen(&socket_in(&kept, "up"), Routes::new()).expect("a socket");
        if is_used {
            std::fs::write(made.join("order.db"), "").expect("a file");
        }
        drop((here, there));
        assert_eq!((made.exists(), kept.exists()), (is_used, true));
        drop(std::fs::remove_dir_all(&made));
    }
}

#[tokio::test]
async fn where_no_process_listens_the_error_names_the_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = socket_in(folder.path(), "order");
    let error = tell(&socket, &GetFaults {}).await.expect_err("no process");
    assert!(matches!(error, ControlError::NotRunning { .. }) && error.to_string().contains("order.control"), "{error}");
}

/// A process of an earlier release answered without a version.
#[tokio::test]
async fn a_process_of_another_version_is_named_and_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = socket_in(folder.path(), "order");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let old = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = [0; 4_096];
        assert!(stream.read(&mut request).await.expect("a request") > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull").await.expect("an answer");
    });
    let error = tell(&socket, &GetFaults {}).await.expect_err("another version");
    assert_eq!(error.code(), "control-version");
    assert!(error.to_string().contains("version unknown"), "{error}");
    old.await.expect("the old process");

    let process = Process::start(Routes::new().on(async |_: GetFaults| Ok(None)));
    let mut stream = UnixStream::connect(process.socket()).await.expect("a socket");
    let request = b"POST /faults HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(request).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("version 1"), "{answer}");
}

#[tokio::test]
async fn only_the_owner_can_open_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    let process = Process::start(Routes::new());
    let mode = std::fs::metadata(process.socket()).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
