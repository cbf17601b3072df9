//! Remedies for settings: correct what the message names, start, and all is well.

use super::{fails, starts_healthy};
use crate::lab::{COURSE_SERVICES, Up, run};
use std::fs;

#[tokio::test]
async fn a_value_or_a_key_that_is_wrong() {
    let mut up = Up::new();
    let config = up.folder().join("jumun.toml");
    // The wrong line, its code, what it names, what to do, and the line that is right.
    let cases = [
        (
            "[order.calls.payment]\ntime_limit = \"soon\"",
            "configuration-invalid",
            "time_limit",
            "Correct the value",
            "[order.calls.payment]\ntime_limit = \"2s\"",
        ),
        (
            "[order.calls.payment.breaker]\nfailure_rate = 0.0",
            "configuration-invalid",
            "failure_rate",
            "Correct the value",
            "[order.calls.payment.breaker]\nfailure_rate = 0.5",
        ),
        (
            "[payment]\ndecline_ovre = 1",
            "configuration-unknown-key",
            "decline_ovre",
            "Correct its spelling",
            "[payment]\ndecline_over = 1000000",
        ),
        ("[payment]\ndecline_ovre = 1", "configuration-unknown-key", "decline_ovre", "or delete it", "[payment]"),
        ("[payment", "configuration-unreadable", "jumun.toml", "Correct the file", "[payment]"),
        (
            "[telemetry]\notlp = \"localhost:4318\"",
            "configuration-invalid",
            "localhost:4318",
            "Correct the value",
            "[telemetry]\notlp = \"http://127.0.0.1:4318\"",
        ),
    ];
    for (wrong, code, named, remedy, right) in cases {
        fs::write(&config, wrong).expect("a file");
        let failed = fails(up.command(), code);
        assert!(failed.said.contains(named), "{code}: {}", failed.said);
        failed.says(remedy);
        fs::write(&config, right).expect("a file");
        let (status, said) = up.jumun(&["config", "food-delivery"]);
        assert_eq!(status, 0, "{right}: {said}");
    }
    starts_healthy(&mut up).await;

    // Another file, and another level.
    fs::write(&config, "[payment").expect("a file");
    let other = up.folder().join("other.toml");
    fs::write(&other, "[payment]").expect("a file");
    fails(up.command_of(&["config", "food-delivery"]), "configuration-unreadable")
        .says("or name another one with --config");
    let (status, said) = up.jumun(&["config", "food-delivery", "--config", &other.display().to_string()]);
    assert_eq!(status, 0, "{said}");
    fs::remove_file(&config).expect("removed");
    let serve = ["serve", "food-delivery", "order", "--listen", "127.0.0.1:0"];
    let mut command = up.command_of(&serve);
    command.env("JUMUN_LOG", "info,jumun_runtime=loud");
    fails(command, "configuration-invalid")
        .says("Set JUMUN_LOG to levels such as info or info,jumun_runtime=debug, or unset it");
    for level in ["info", "info,jumun_runtime=debug"] {
        let mut command = up.command_of(&serve);
        command.env("JUMUN_LOG", level);
        fails(command, "database-in-use"); // it comes that far
    }
}

#[tokio::test]
async fn the_sender_of_messages() {
    let mut up = Up::of("course-enrollment", &COURSE_SERVICES);
    let config = up.folder().join("jumun.toml");
    for wrong in ["kind = \"pigeon\"", "kind = \"smtp\"\n[notification.sender.smtp]\nfrom = \"nobody\""] {
        fs::write(&config, format!("[notification.sender]\n{wrong}")).expect("a file");
        let (status, said) = run(up.command());
        assert_eq!(status, 1, "{said}");
        let code =
            ["sender-configuration-invalid", "configuration-invalid"].into_iter().find(|code| said.contains(code));
        assert!(code.is_some() && said.contains("notification.sender"), "{said}");
        assert!(said.contains("Correct the value"), "{said}");
    }
    fs::write(&config, "[notification.sender]\nkind = \"console\"\ntemplates = \"words\"\n").expect("a file");
    let template = up.folder().join("words/ko/Paid.txt");
    fs::create_dir_all(template.parent().expect("a folder")).expect("a folder");
    fs::write(&template, "고맙습니다\n\n강의 {{ eduNo }번\n").expect("a file");
    let failed = fails(up.command(), "template-invalid");
    assert!(failed.said.contains("words/ko/Paid.txt, line 3"), "{}", failed.said);
    failed.says("Correct the line that the message names, or delete the file");
    fs::write(&template, "고맙습니다\n\n강의 {{ eduNo }}번\n").expect("a file");
    up.start().await;
    up.stop().await;
    fs::write(&template, "고맙습니다\n\n강의 {{ eduNo }번\n").expect("a file");
    fails(up.command(), "template-invalid");
    fs::remove_file(&template).expect("removed");
    up.start().await;
    super::all_up(&up).await;
}
