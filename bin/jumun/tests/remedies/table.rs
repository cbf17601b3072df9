//! The table of all codes: each has a scenario here, a test elsewhere that does what its page says, or a reason why no
//! operator and no client can meet it. It is compared with the pages of `docs/errors`, which `pages.rs` compares with the
//! codes in the sources.

use std::{collections::BTreeSet, fs, path::Path};

/// Codes with a scenario: the module below `remedies/`, and the test.
const SCENARIOS: &[(&str, &str, &str)] = &[
    ("already-up", "commands", "a_system_that_is_not_up_or_is_up_twice"),
    ("ask-only", "problems", "requests_that_can_never_be_done"),
    ("bad-gateway", "problems", "a_gateway_that_is_led_astray"),
    ("breaker-unknown", "commands", "names_that_there_are_not"),
    ("bulkhead-full", "problems", "requests_that_are_done_a_little_later"),
    ("bus-ahead", "logs", "a_database_that_is_older_than_its_log"),
    ("bus-another-epoch", "logs", "the_log_of_another_database"),
    ("bus-behind", "logs", "a_log_that_ends_before_the_position_of_a_view"),
    ("bus-damaged", "logs", "a_log_that_is_damaged_while_all_is_stopped"),
    ("bus-gone", "logs", "events_that_are_not_kept"),
    ("bus-in-use", "logs", "two_systems_on_one_bus"),
    ("bus-missing", "logs", "a_log_that_is_damaged_while_all_is_stopped"),
    ("bus-newer", "logs", "a_log_of_a_newer_release"),
    ("bus-unavailable", "logs", "a_bus_that_cannot_be_written"),
    ("circuit-open", "problems", "requests_that_are_done_a_little_later"),
    ("code-unknown", "commands", "names_that_there_are_not"),
    ("configuration-invalid", "configuration", "a_value_or_a_key_that_is_wrong"),
    ("configuration-unknown-key", "configuration", "a_value_or_a_key_that_is_wrong"),
    ("configuration-unreadable", "configuration", "a_value_or_a_key_that_is_wrong"),
    ("conflict", "problems", "requests_that_can_never_be_done"),
    ("control-socket", "commands", "ports_and_folders_that_cannot_be_had"),
    ("control-version", "commands", "a_service_that_does_not_answer_its_operator"),
    ("data-unwritable", "commands", "ports_and_folders_that_cannot_be_had"),
    ("database-damaged", "databases", "a_database_that_is_damaged"),
    ("database-foreign", "databases", "a_database_of_something_else"),
    ("database-in-use", "databases", "a_database_that_is_in_use"),
    ("database-lost", "databases", "a_database_that_is_gone"),
    ("database-missing", "databases", "no_database_at_all"),
    ("database-newer", "databases", "a_database_of_a_newer_release"),
    ("database-older", "databases", "a_database_of_the_release_before"),
    ("database-partitions", "databases", "a_database_of_other_partitions"),
    ("database-replaced", "databases", "the_database_of_another_system"),
    ("database-unusable", "databases", "a_database_that_cannot_be_used"),
    ("declined", "problems", "requests_that_can_never_be_done"),
    ("event-missing", "commands", "names_that_there_are_not"),
    ("event-type-unknown", "commands", "names_that_there_are_not"),
    ("event-unclear", "commands", "names_that_there_are_not"),
    ("expectation-failed", "problems", "heads_that_can_never_be_taken"),
    ("fault", "problems", "requests_that_are_done_a_little_later"),
    ("gateway-timeout", "problems", "a_gateway_that_waits_no_longer"),
    ("head-too-large", "problems", "heads_that_can_never_be_taken"),
    ("invalid", "problems", "requests_that_can_never_be_done"),
    ("jumun-missing", "commands", "a_project_that_cannot_be_written"),
    ("key-reused", "problems", "requests_that_can_never_be_done"),
    ("listen", "commands", "ports_and_folders_that_cannot_be_had"),
    ("load-audit-impossible", "commands", "a_load_that_cannot_be_sent"),
    ("load-target-invalid", "commands", "a_load_that_cannot_be_sent"),
    ("load-target-unreachable", "commands", "a_load_that_cannot_be_sent"),
    ("load-unclear", "commands", "a_load_that_cannot_be_sent"),
    ("log-unreadable", "commands", "a_log_that_cannot_be_read"),
    ("malformed", "problems", "requests_that_can_never_be_done"),
    ("method-not-allowed", "problems", "requests_that_can_never_be_done"),
    ("misdirected", "problems", "heads_that_can_never_be_taken"),
    ("neighbour-unavailable", "problems", "requests_that_are_done_a_little_later"),
    ("not-acceptable", "problems", "heads_that_can_never_be_taken"),
    ("not-found", "problems", "requests_that_can_never_be_done"),
    ("not-implemented", "problems", "heads_that_can_never_be_taken"),
    ("not-up", "commands", "a_system_that_is_not_up_or_is_up_twice"),
    ("order-unclear", "commands", "names_that_there_are_not"),
    ("output-unwritable", "commands", "a_standard_output_that_is_full"),
    ("overloaded", "problems", "a_client_that_is_held_back"),
    ("port-taken", "commands", "ports_and_folders_that_cannot_be_had"),
    ("precondition-failed", "problems", "heads_that_can_never_be_taken"),
    ("project-exists", "commands", "a_project_that_cannot_be_written"),
    ("project-unwritable", "commands", "a_project_that_cannot_be_written"),
    ("sender-configuration-invalid", "configuration", "the_sender_of_messages"),
    ("service-not-running", "commands", "a_service_that_does_not_run"),
    ("service-not-starting", "commands", "a_service_that_does_not_start"),
    ("service-refused", "commands", "names_that_there_are_not"),
    ("service-silent", "commands", "a_service_that_does_not_answer_its_operator"),
    ("service-unknown", "commands", "names_that_there_are_not"),
    ("system-unclear", "commands", "a_system_that_is_not_up_or_is_up_twice"),
    ("system-unknown", "commands", "names_that_there_are_not"),
    ("template-invalid", "configuration", "the_sender_of_messages"),
    ("timeout", "problems", "a_gateway_that_waits_no_longer"),
    ("too-large", "problems", "requests_that_can_never_be_done"),
    ("too-many-requests", "problems", "a_client_that_is_held_back"),
    ("unsupported-coding", "problems", "heads_that_can_never_be_taken"),
    ("unsupported-media-type", "problems", "requests_that_can_never_be_done"),
    ("uri-too-long", "problems", "heads_that_can_never_be_taken"),
    ("version-unsupported", "problems", "heads_that_can_never_be_taken"),
    ("view-unknown", "commands", "names_that_there_are_not"),
];

/// Codes whose scenario needs what the tests of another file have: crash points, a full disk, a double of a service.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("ask-expired", "bin/jumun/tests/rest.rs", "an_ask_that_comes_too_late_is_not_answered"),
    ("bus-gap", "crates/jumun-bus/tests/log.rs", "a_number_that_is_missing_is_a_gap_and_said_loudly"),
    (
        "event-unfoldable",
        "crates/jumun-runtime/src/events/rebuild/tests.rs",
        "an_event_on_which_the_code_fails_leaves_the_old_rows",
    ),
    ("database-refused", "bin/jumun/tests/postgres.rs", "a_server_that_does_not_answer_or_does_not_let_in_is_said"),
    (
        "database-taken-over",
        "crates/jumun-database/tests/postgres.rs",
        "a_process_whose_database_was_taken_over_writes_no_more",
    ),
    ("database-unreachable", "bin/jumun/tests/postgres.rs", "a_server_that_does_not_answer_or_does_not_let_in_is_said"),
    ("database-gone", "bin/jumun/tests/files.rs", "no_order_is_acknowledged_into_a_folder_that_is_gone"),
    (
        "parked-full",
        "crates/jumun-runtime/src/events/consumer/tests.rs",
        "a_release_that_can_apply_nothing_stalls_before_it_parks_everything",
    ),
    ("not-done", "bin/jumun/tests/rest.rs", "a_full_disk_of_orders_is_told_and_outlived"),
    ("outcome-unknown", "bin/jumun/tests/gateway.rs", "what_breaks_twice_is_in_doubt_and_the_client_is_told_the_key"),
    ("position-unknown", "bin/jumun/tests/polyglot.rs", "a_position_that_is_not_there_is_refused"),
    ("rebuild-at-work", "bin/jumun/tests/views.rs", "ending_the_command_gives_the_rebuild_up_and_only_one_is_at_work"),
    (
        "rebuild-given-up",
        "bin/jumun/tests/views.rs",
        "a_view_is_rebuilt_under_running_orders_by_processes_that_are_killed_over_it",
    ),
    ("system-invalid", "crates/jumun-host/src/plan/tests.rs", "a_system_with_problems_is_refused"),
    ("voided", "bin/jumun/tests/rest.rs", "what_is_undone_before_it_comes_is_never_done"),
];

/// Codes that cannot be provoked from outside.
const OUT_OF_REACH: &[(&str, &str)] = &[
    ("bus-partitions", "every release makes logs and databases of one partition"),
    ("database-not-done", "a disk that is full in the middle of a rebuild, and not before"),
    ("database-unreadable", "a query that takes longer than its limit, or a disk that fails"),
    ("database-shared", "no adapter makes a database for several processes; SQLite refuses one as database-unusable"),
    ("defect", "a defect of the program"),
    ("guard-configuration-invalid", "the configuration checks the same bounds first, and says configuration-invalid"),
    ("internal", "a defect of the program"),
    ("no-time-left", "the detail of a 503 when the time of a call runs out in the queue of its bulkhead"),
    ("otlp-unusable", "the configuration checks the address first, and says configuration-invalid"),
    ("otlp-not-built", "the program of these tests is built with that feature"),
    ("system", "a limit of the operating system that is reached in the moment of a start"),
];

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn no_code_is_forgotten() {
    let pages = fs::read_dir(root().join("docs/errors")).expect("a folder");
    let pages =
        pages.map(|page| page.expect("a page").path().file_stem().expect("a name").to_string_lossy().into_owned());
    let pages: BTreeSet<String> = pages.filter(|page| page != "README").collect();
    let scenarios =
        SCENARIOS.iter().map(|(code, module, test)| (*code, format!("bin/jumun/tests/remedies/{module}.rs"), *test));
    let elsewhere = ELSEWHERE.iter().map(|(code, file, test)| (*code, (*file).to_owned(), *test));
    let mut known = BTreeSet::new();
    for (code, file, test) in scenarios.chain(elsewhere) {
        assert!(known.insert(code.to_owned()), "{code} stands twice");
        let text = fs::read_to_string(root().join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}()")), "{code}: {file} has no test `{test}`");
        assert!(text.contains(code), "{code}: {file} does not provoke it");
    }
    for (code, reason) in OUT_OF_REACH {
        assert!(known.insert((*code).to_owned()), "{code} stands twice");
        assert!(reason.len() > 20, "{code}: say why");
    }
    let missing: Vec<_> = pages.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "nobody has followed the remedies of these codes; write a scenario in remedies/: {missing:?}"
    );
    let stray: Vec<_> = known.difference(&pages).collect();
    assert!(stray.is_empty(), "there are no such codes: {stray:?}");
}
