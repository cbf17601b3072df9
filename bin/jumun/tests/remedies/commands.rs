//! Remedies of commands: names that there are not, systems that do not run, folders and ports that cannot be had.

use super::{all_up, fails, healthy, starts_healthy, with_orders};
use crate::lab::{COURSE_SERVICES, LONG, Up, run, wait_until};
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    process::Stdio,
    thread,
};

fn ok(up: &Up, words: &[&str]) -> String {
    up.tell(words)
}

#[tokio::test]
async fn names_that_there_are_not() {
    let up = Up::running().await;
    healthy(&up).await;
    // What is wrong, its code, what the remedy offers, and the command with that.
    let cases: [(&[&str], &str, &str, &[&str]); 13] = [
        (
            &["serve", "food-delivry", "order"],
            "system-unknown",
            "Name one of: food-delivery",
            &["audit", "food-delivery"],
        ),
        (&["fault", "catapult"], "service-unknown", "Name one of: order", &["fault", "order"]),
        (&["logs", "catapult"], "service-unknown", "Name one of: dashboard", &["logs", "dashboard"]),
        (&["parked", "retry", "--service", "catapult"], "service-unknown", "Leave --service out", &["parked", "retry"]),
        (
            &["view", "rebuild", "store"],
            "view-unknown",
            "Its views: dashboards of dashboard",
            &["view", "rebuild", "dashboards"],
        ),
        (
            &["breakers", "reset", "payment", "order"],
            "breaker-unknown",
            "order payment",
            &["breakers", "reset", "order", "payment"],
        ),
        (&["explain", "nonsense"], "code-unknown", "`jumun explain`", &["explain"]),
        (&["events", "show", "order/0/7000"], "event-missing", "`jumun events tail`", &["events", "tail"]),
        (
            &["events", "tail", "--type", "OrderCancelled"],
            "event-type-unknown",
            "OrderCanceled",
            &["events", "tail", "--type", "OrderCanceled"],
        ),
        (&["events", "show", "order-1"], "event-unclear", "order/0/7", &["events", "show", "order/0/1"]),
        (&["why", "seven"], "order-unclear", "`jumun why 7`", &["why", "1"]),
        (
            &["fault", "payment", "--delay", "1s", "--for", "2d"],
            "service-refused",
            "Do what it says",
            &["fault", "payment", "--delay", "1ms", "--for", "1s"],
        ),
        (
            &["load", "food-delivery", "--requests", "1", "--path", "orders", "--no-audit"],
            "load-unclear",
            "--path /orders",
            &["load", "food-delivery", "--requests", "1", "--path", "/orders", "--no-audit", "--url", "GATEWAY"],
        ),
    ];
    let gateway = format!("http://{}", up.address("gateway"));
    for (wrong, code, offer, right) in cases {
        fails(up.command_of(wrong), code).says(offer);
        let right: Vec<&str> =
            right.iter().map(|word| if *word == "GATEWAY" { gateway.as_str() } else { word }).collect();
        ok(&up, &right);
    }
    healthy(&up).await;
}

#[tokio::test]
async fn a_project_that_cannot_be_written() {
    let up = Up::new();
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let new = |name, parent, jumun| up.command_of(&["new", name, "--in", parent, "--jumun", jumun]);
    let entries = |folder: &str| fs::read_dir(up.folder().join(folder)).expect("a folder").count();
    fails(new("tea-shop", ".", "."), "jumun-missing").says("Name the folder of a checkout of Jumun with --jumun");
    fails(new("tea-shop", "projects", workspace), "project-unwritable").says("Choose a folder that exists");
    assert_eq!(entries("."), 0, "nothing is left of the attempts");

    fs::create_dir_all(up.folder().join("projects/tea-shop")).expect("a folder"); // an empty folder is no project
    ok(&up, &["new", "tea-shop", "--in", "projects", "--jumun", workspace]);
    let manifest = up.folder().join("projects/tea-shop/Cargo.toml");
    fs::write(&manifest, "# mine").expect("a file");
    fails(new("tea-shop", "projects", workspace), "project-exists").says("or another folder with --in");
    assert_eq!(fs::read_to_string(manifest).expect("a file"), "# mine", "it is left alone");
    assert_eq!(entries("projects"), 1, "nothing is left of the attempt");
    ok(&up, &["new", "tea-shop", "--in", ".", "--jumun", workspace]);
}

#[tokio::test]
async fn a_load_that_cannot_be_sent() {
    let mut up = Up::new();
    let gateway = format!("http://{}", up.address("gateway"));
    let load = |up: &Up, more: &[&str]| up.command_of(&[&["load", "food-delivery", "--requests", "1"], more].concat());
    fails(load(&up, &["--url", "127.0.0.1:1/path", "--no-audit"]), "load-target-invalid")
        .says("Write --url http://host:port");
    fails(load(&up, &["--url", &gateway, "--no-audit"]), "load-target-unreachable").says("Start the system");
    fails(load(&up, &["--url", &gateway]), "load-audit-impossible").says("or leave the audit out with --no-audit");
    fails(load(&up, &["--url", &gateway, "--no-audit", "--watch", "1%", "--until", "done"]), "load-unclear")
        .says("Leave --watch out");
    up.start().await;
    let elsewhere = Up::new();
    let data = up.folder().join("data").display().to_string();
    fails(load(&elsewhere, &["--url", &gateway]), "load-audit-impossible")
        .says("Name the folder of the running services with --data");
    for more in [&["--url", &gateway, "--data", &data][..], &["--url", &gateway, "--no-audit"]] {
        let (status, said) = run(load(&elsewhere, more));
        assert_eq!(status, 0, "{more:?}: {said}");
    }
    healthy(&up).await;
}

#[tokio::test]
async fn a_system_that_is_not_up_or_is_up_twice() {
    let mut up = Up::new();
    let failed = fails(up.command_of(&["status"]), "not-up");
    failed.says("Start a system with `jumun up`");
    fails(up.command_of(&["asks"]), "not-up").says("Start a system with `jumun up <system>`");
    up.start().await;
    ok(&up, &["status"]);
    let elsewhere = Up::new();
    fails(elsewhere.command_of(&["status"]), "not-up").says("or name its folder with --data");
    let data = up.folder().join("data").display().to_string();
    ok(&elsewhere, &["status", "--data", &data]);

    fails(up.command(), "already-up").says("See `jumun status`, or choose another folder with --data");
    ok(&up, &["status"]);
    let mut second = Up::new(); // another folder, and other ports
    second.start().await;
    healthy(&second).await;

    // A second system in the same folder.
    let mut course = Up::of("course-enrollment", &COURSE_SERVICES);
    course.set("notification.sender.kind=console");
    let settings: Vec<_> = course.command().get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut beside = up.command_of(&settings.iter().map(String::as_str).collect::<Vec<_>>());
    let mut beside = beside.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a process");
    let both = async || up.jumun(&["status", "--system", "course-enrollment"]).0 == 0;
    wait_until(LONG, "both are up", both).await;
    fails(up.command_of(&["up"]), "system-unclear").says("Name one of: food-delivery");
    fails(up.command_of(&["status"]), "system-unclear").says("Name the system with --system");
    ok(&up, &["status", "--system", "food-delivery"]);
    fails(up.command_of(&["asks"]), "system-unclear").says("Name the system in the command");
    ok(&up, &["asks", "food-delivery"]);
    // One that was killed leaves its socket, and is not up.
    beside.kill().expect("killed");
    beside.wait().expect("ended");
    ok(&up, &["status"]);
    ok(&up, &["asks"]);
    healthy(&up).await;
    up.stop().await;
    fails(up.command_of(&["asks"]), "not-up").says("Name the system in the command: course-enrollment, food-delivery");
    ok(&up, &["asks", "food-delivery"]);
}

#[tokio::test]
async fn a_service_that_does_not_run() {
    let up = Up::running().await;
    ok(&up, &["stop", "dashboard"]);
    let rebuild = ["view", "rebuild", "food-delivery", "dashboard"];
    let failed = fails(up.command_of(&rebuild), "service-not-running");
    let start = failed.command("jumun start", &[("<service>", "dashboard")]);
    ok(&up, &start.iter().map(String::as_str).collect::<Vec<_>>());
    ok(&up, &rebuild);
    let elsewhere = Up::new();
    fails(elsewhere.command_of(&rebuild), "service-not-running").says("or check --data");
    let data = up.folder().join("data").display().to_string();
    ok(&elsewhere, &[&rebuild[..], &["--data", &data]].concat());
    healthy(&up).await;
}

/// Answers each connection to a control socket with this, instead of a service.
fn pretend(up: &Up, service: &str, answer: &'static str) {
    ok(up, &["stop", service]);
    let socket = up.data().join(format!("{service}.control"));
    drop(fs::remove_file(&socket));
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            drop(stream.read(&mut [0; 4_096]));
            drop(stream.write_all(answer.as_bytes()));
        }
    });
}

#[tokio::test]
async fn a_service_that_does_not_answer_its_operator() {
    let mut up = Up::running().await;
    let rebuild = ["view", "rebuild", "food-delivery", "dashboard"];
    pretend(&up, "dashboard", "");
    let failed = fails(up.command_of(&rebuild), "service-silent");
    for command in ["jumun logs", "jumun restart"] {
        let words = failed.command(command, &[("<service>", "dashboard")]);
        ok(&up, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    ok(&up, &rebuild);
    healthy(&up).await;

    let newer = "HTTP/1.1 409 Conflict\r\njumun-control-version: 99\r\ncontent-type: application/json\r\ncontent-length: 13\r\nconnection: close\r\n\r\n{\"why\":\"new\"}";
    pretend(&up, "dashboard", newer);
    let failed = fails(up.command_of(&rebuild), "control-version");
    failed.says("or stop the system and start it with this one (jumun up <system>)");
    up.stop().await;
    up.start().await;
    ok(&up, &rebuild);
    healthy(&up).await;
}

#[tokio::test]
async fn ports_and_folders_that_cannot_be_had() {
    // A port.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let mut up = Up::new();
    up.set(format!("store.listen={address}"));
    fails(up.command(), "port-taken").says("Stop what listens there, or move all ports with --port-offset 100");
    drop(taken);
    starts_healthy(&mut up).await;
    let serve = ["serve", "food-delivery", "store", "--listen", &address.to_string()];
    let other = Up::new();
    fails(other.command_of(&serve), "listen").says("or choose another address with --listen");
    up.stop().await;
    let mut foreign = Up::new();
    foreign.set("store.listen=192.0.2.1:80");
    fails(foreign.command(), "listen").says("Choose an address of this machine");
    foreign.set(format!("store.listen={}", up.address("store")));
    foreign.start().await;
    healthy(&foreign).await;

    // A folder.
    let mut up = Up::new();
    fs::write(up.folder().join("data"), "a file").expect("a file");
    let failed = fails(up.command(), "data-unwritable");
    failed.says("choose another one with --data");
    let another = up.folder().join("another").display().to_string();
    let mut command = up.command();
    command.args(["--data", &another]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("a process");
    wait_until(LONG, "it is up elsewhere", async || up.jumun(&["status", "--data", &another]).0 == 0).await;
    child.kill().expect("killed");
    child.wait().expect("ended");
    failed.says("Make it a folder that this user can write");
    fs::remove_file(up.folder().join("data")).expect("removed");
    let gone = async || run(up.command_of(&["status", "--data", &another])).0 != 0;
    wait_until(LONG, "the other one is gone", gone).await;
    starts_healthy(&mut up).await;

    // A path that is too long for a socket.
    let mut up = Up::new();
    let long = up.folder().join("a".repeat(120)).display().to_string();
    let mut command = up.command();
    command.args(["--data", &long]);
    fails(command, "control-socket").says("choose a shorter path with --data");
    starts_healthy(&mut up).await;
}

#[tokio::test]
async fn a_log_that_cannot_be_read() {
    let mut up = with_orders(5).await;
    let log = up.data().join("logs/order.log");
    fs::remove_file(&log).expect("removed");
    fs::create_dir(&log).expect("a folder");
    fails(up.command_of(&["logs", "order"]), "log-unreadable").says("or move it away");
    fs::rename(&log, up.folder().join("moved")).expect("moved");
    up.start().await;
    ok(&up, &["logs", "order"]);
    healthy(&up).await;
}

#[tokio::test]
async fn a_standard_output_that_is_full() {
    let up = with_orders(5).await;
    let words = ["events", "tail", "food-delivery", "--json"];
    let full = fs::File::options().write(true).open("/dev/full").expect("the device");
    let mut command = up.command_of(&words);
    let output = command.stdout(full).stderr(Stdio::piped()).output().expect("a process");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("error[output-unwritable]"), "{said}");
    assert!(said.contains("Free space on its disk, then run the command again"), "{said}");
    assert!(ok(&up, &words).lines().count() > 5);
}

#[tokio::test]
async fn a_service_that_does_not_start() {
    let mut up = with_orders(5).await;
    let file = up.data().join("store.db");
    let copy = up.folder().join("store.db");
    fs::rename(&file, &copy).expect("moved");
    fs::write(&file, [7; 8_192]).expect("written");
    let (_, said) = run(up.command());
    assert!(said.contains("error[service-not-starting]: store"), "{said}");
    assert!(said.contains("its log has all messages (jumun logs)"), "{said}");
    assert!(ok(&up, &["logs", "store"]).contains("database-damaged"));
    assert!(said.contains("restore the newest copy in its place"), "{said}"); // its message
    fs::remove_file(&file).expect("removed");
    fs::rename(&copy, &file).expect("restored");
    up.start().await;
    all_up(&up).await;
    healthy(&up).await;
}
