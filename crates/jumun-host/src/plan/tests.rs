//! The two steps: what is refused before anything is touched, and what is opened.

use super::*;
use crate::config::{Sources, load};
use jumun_bus::Source;
use jumun_database::Uuid;
use std::{collections::HashMap, path::Path};

fn config(system: &SystemModel, data: &Path, set: &[(&str, &str)]) -> Config {
    let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let data = Some(data.to_owned());
    let sources = Sources { data, set, environment: Some(HashMap::new()), ..Sources::default() };
    load(system, &sources).expect("a configuration")
}

/// The code and the text of the error of a plan.
fn refused(system: &SystemModel, service: &str, config: &Config) -> (&'static str, String) {
    let service = system.service(service).expect("a service");
    let error = Plan::new(system, service, config).err().expect("it is refused");
    assert!(!error.remedy().is_empty());
    (error.code(), error.to_string())
}

#[tokio::test]
async fn a_wrong_setting_is_found_before_anything_is_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let food = food_delivery::system();
    let (code, why) = refused(&food, "payment", &config(&food, &data, &[("payment.decline_over", "much")]));
    assert_eq!(code, "configuration-invalid");
    assert!(why.contains("decline_over"), "{why}");

    let course = course_enrollment::system();
    for (set, key) in [
        (vec![("notification.sender.kind", "webhook")], "notification.sender.webhook."),
        (vec![("notification.sender.ca_file", "missing.pem")], "notification.sender.ca_file"),
    ] {
        let (code, why) = refused(&course, "notification", &config(&course, &data, &set));
        assert_eq!(code, "sender-configuration-invalid");
        assert!(why.starts_with(&format!("`{key}")), "{why}");
    }
    let set = [("notification.sender.templates", "missing"), ("notification.sender.language", "xx")];
    let (code, _) = refused(&course, "notification", &config(&course, &data, &set));
    assert!(code == "template-invalid" || code == "sender-configuration-invalid", "{code}");
    assert!(!data.exists());
}

#[tokio::test]
async fn a_plan_touches_the_disk_only_when_it_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let course = course_enrollment::system();
    let file = folder.path().join("messages.jsonl");
    let path = file.display().to_string();
    let set =
        [("notification.sender.kind", "file"), ("notification.sender.file.path", path.as_str()), ("retention", "7d")];
    let config = config(&course, &folder.path().join("data"), &set);
    let service = course.service("notification").expect("a service");
    let plan = Plan::new(&course, service, &config).expect("a plan");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    let process = plan.open(0, false).await.expect("a process");
    assert!(file.exists() && config.folder.join("notification.db").exists() && config.folder.join("bus").exists());
    assert!(process.serving.retention.is_some());
    assert_eq!(process.serving.control, config.folder.join("notification.control"));
    let service = course.service("notification").expect("a service");
    let second =
        Plan::new(&course, service, &config).expect("a plan").open(0, false).await.err().expect("it is in use");
    assert_eq!(second.code(), "database-in-use");
    process.engine.core().database().close().await;
}

/// Database and bus are elsewhere.
#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_no_reason_not_to_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let food = food_delivery::system();
    let data = folder.path().join("data");
    std::fs::write(&data, "a file").expect("a file");
    let at = |what: &str| format!("{what}{}", folder.path().join("elsewhere").display());
    let (database, bus) = (at("sqlite://") + "/order.db", at("log://") + "/bus");
    let config = config(&food, &data, &[("order.database", &database), ("bus", &bus)]);
    let service = food.service("order").expect("a service");
    for has_data in [false, true] {
        let process = Plan::new(&food, service, &config).expect("a plan").open(0, has_data).await.expect("a process");
        process.engine.core().database().close().await;
    }
}

/// The relay refuses that log; a note of this database would refuse the right one later.
#[tokio::test]
async fn a_database_that_does_not_belong_to_its_log_is_not_noted() {
    let folder = tempfile::tempdir().expect("a folder");
    let food = food_delivery::system();
    let service = food.service("order").expect("a service");
    let config = config(&food, &folder.path().join("data"), &[("bus", &format!("log://{}", folder.path().display()))]);
    let open = || Plan::new(&food, service, &config).expect("a plan").open(0, false);
    let note = config.folder.join("epochs/order");
    let process = open().await.expect("a process");
    let made = std::fs::read_to_string(&note).expect("a note");
    let identity = process.engine.core().database().identity().clone();
    process.engine.core().database().close().await;
    for (epoch, is_noted) in [(Uuid::nil(), false), (identity.epoch, true)] {
        std::fs::remove_file(&note).expect("removed");
        drop(std::fs::remove_dir_all(folder.path().join("order")));
        let log = Source { service: "order".into(), epoch, partitions: identity.partitions };
        drop(config.bus.open(BusOptions::default()).expect("a bus").publisher(&log).expect("a publisher"));
        open().await.expect("a process").engine.core().database().close().await;
        assert_eq!(std::fs::read_to_string(&note).ok(), is_noted.then(|| made.clone()), "{epoch}");
        std::fs::write(&note, &made).expect("a note");
    }
}

#[tokio::test]
async fn a_system_with_problems_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = broken::system();
    let config = config(&broken, folder.path(), &[]);
    let (code, why) = refused(&broken, "till", &config);
    assert_eq!(code, "system-invalid");
    assert!(why.starts_with("broken has problems:\n  - there is no example of Rang"), "{why}");
    // What it says to do: the test of each system asserts that this list is empty.
    let problems = broken.problems();
    assert!(!problems.is_empty() && problems.iter().all(|problem| why.contains(&problem.to_string())), "{why}");
    assert!(check(&food_delivery::system()).is_ok());
}

/// A system whose only event has no example.
mod broken {
    use jumun::{Aggregate, Context, Decision, Id, Resource, Service, System, SystemModel, emit};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    jumun::published_language! {
        pub(super) enum Happened, Kind {
            till(by id): Rang(Bell);
        }
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub(super) struct Bell {
        id: Id<Bell>,
    }

    #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
    pub(super) struct Ring {}

    impl Aggregate for Bell {
        type Terms = (Ring, Happened);

        const HEARS: &'static [Kind] = &[Kind::Rang];

        fn decide(_: Option<&Bell>, Ring {}: Ring, ctx: &Context<'_, Bell>) -> Decision<Happened> {
            emit(Happened::Rang(Bell { id: ctx.id }))
        }

        fn evolve(_: Option<Bell>, event: &Happened) -> Option<Bell> {
            let Happened::Rang(bell) = event;
            Some(bell.clone())
        }
    }

    pub(super) fn system() -> SystemModel {
        let till = Service::new("till", 8081).aggregate(Resource::<Bell>::at("/bells").on_post(|ring: Ring| ring));
        System::new("broken", "").service(till).build()
    }
}
