//! Apache Kafka in `KRaft` mode, from the packages of Maven Central: each broker is a controller, too.
//!
//! With three brokers, topics have three replicas, of which two must have a message before it is acknowledged. With one, a
//! message is flushed to disk before that.

use super::{
    Failure,
    machine::{self, User},
    of_file,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const KAFKA: &str = "4.4.0";

/// Without it, Kafka logs nothing.
const LOG4J: &str = "2.25.5";

const LOGGING: &str = "rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = INFO
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c)%n
";

/// What a broker says when it is ready.
const READY: &str = "Kafka Server started";

/// Returns the addresses of the brokers.
pub(super) fn start(folder: &Path, programs: &Path, brokers: u16) -> Result<String, Failure> {
    let libraries = install(programs)?;
    let url = folder.join("url");
    if !url.exists() {
        let addresses = configure(folder, &libraries, brokers)?;
        machine::write_secret(&url, &format!("kafka://{}", addresses.join(",")))?;
    }
    let ended: Vec<_> = of_brokers(folder).filter(|broker| !is_running(broker)).collect();
    for broker in &ended {
        let log = broker.join("log");
        let _ = fs::remove_file(&log); // what an earlier process has said
        let mut command = java(broker, folder, &libraries)?;
        let process = machine::start(command.arg("kafka.Kafka").arg(broker.join("server.properties")))?;
        machine::write_secret(&broker.join("pid"), &process.to_string())?;
    }
    for broker in &ended {
        let log = broker.join("log");
        let said = || fs::read_to_string(&log).is_ok_and(|text| text.contains(READY));
        machine::wait_until(&format!("a broker is not ready, see {}", log.display()), || {
            said() || !is_running(broker)
        })?;
        if !is_running(broker) {
            return Err(format!("a broker has ended, see {}", log.display()));
        }
    }
    fs::read_to_string(&url).map_err(of_file(&url))
}

pub(super) fn stop(folder: &Path) -> Result<(), Failure> {
    let processes: Vec<_> = of_brokers(folder).filter_map(|broker| process_of(&broker)).collect();
    machine::end(&processes)
}

pub(super) fn kill(folder: &Path) -> Result<(), Failure> {
    of_brokers(folder).filter_map(|broker| process_of(&broker)).try_for_each(machine::kill)
}

pub(super) fn runs(folder: &Path) -> bool {
    of_brokers(folder).next().is_some() && of_brokers(folder).all(|broker| is_running(&broker))
}

/// The folders of the brokers, by their number.
fn of_brokers(folder: &Path) -> impl Iterator<Item = PathBuf> {
    (1..).map(|number: u16| folder.join(number.to_string())).take_while(|broker| broker.exists())
}

fn process_of(broker: &Path) -> Option<i32> {
    fs::read_to_string(broker.join("pid")).ok()?.parse().ok()
}

fn is_running(broker: &Path) -> bool {
    process_of(broker).is_some_and(machine::is_running)
}

/// Gets the libraries, unless they are there.
fn install(programs: &Path) -> Result<PathBuf, Failure> {
    let folder = programs.join(format!("kafka-{KAFKA}"));
    let libraries = folder.join("libraries");
    if libraries.exists() {
        return Ok(libraries);
    }
    fs::create_dir_all(&folder).map_err(of_file(&folder))?;
    let dependency = |group: &str, name: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        )
    };
    let all = [
        dependency("org.apache.kafka", "kafka_2.13", KAFKA),
        dependency("org.apache.kafka", "kafka-tools", KAFKA),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J),
    ];
    let project = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>servers</groupId><artifactId>kafka</artifactId>\
         <version>1</version><packaging>pom</packaging><dependencies>{}</dependencies></project>",
        all.concat()
    );
    let (file, next) = (folder.join("pom.xml"), folder.join("libraries.next"));
    fs::write(&file, project).map_err(of_file(&file))?;
    let _ = fs::remove_dir_all(&next); // of a start that was interrupted
    let mut command = User::itself().command(Path::new("mvn"), &folder)?;
    command.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
    command.arg(format!("-DoutputDirectory={}", next.display()));
    machine::run(&mut command, &folder)?;
    fs::rename(&next, &libraries).map_err(of_file(&next))?;
    Ok(libraries)
}

fn configure(folder: &Path, libraries: &Path, brokers: u16) -> Result<Vec<String>, Failure> {
    let logging = folder.join("log4j2.properties");
    fs::write(&logging, LOGGING).map_err(of_file(&logging))?;
    let mut ports = Vec::new();
    for _ in 0..brokers {
        ports.push((machine::free_port()?, machine::free_port()?));
    }
    let voters: Vec<_> = (1..).zip(&ports).map(|(number, (_, own))| format!("{number}@127.0.0.1:{own}")).collect();
    let (voters, enough) = (voters.join(","), brokers / 2 + 1);
    // 16 bytes in the alphabet of Kafka: digits are in it.
    let cluster = machine::password()?[..22].to_owned();
    for (number, (port, controller)) in (1..).zip(&ports) {
        let number: u16 = number;
        let broker = folder.join(number.to_string());
        let (data, file) = (broker.join("data"), broker.join("server.properties"));
        fs::create_dir_all(&broker).map_err(of_file(&broker))?;
        let flush = if brokers == 1 { "log.flush.interval.messages=1\n" } else { "" };
        let settings = format!(
            "process.roles=broker,controller
node.id={number}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
log.dirs={}
default.replication.factor={brokers}
offsets.topic.replication.factor={brokers}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={brokers}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={brokers}
min.insync.replicas={enough}
transaction.state.log.min.isr={enough}
group.initial.rebalance.delay.ms=0
{flush}",
            data.display()
        );
        fs::write(&file, settings).map_err(of_file(&file))?;
        let mut command = java(&broker, folder, libraries)?;
        command.args(["kafka.tools.StorageTool", "format", "-t", &cluster, "-c"]).arg(&file);
        machine::run(&mut command, &broker)?;
    }
    Ok(ports.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect())
}

/// Java as a broker needs it: little memory, and a short start.
fn java(broker: &Path, folder: &Path, libraries: &Path) -> Result<Command, Failure> {
    let mut command = User::itself().command(Path::new("java"), broker)?;
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(libraries.join("*"));
    command.arg(format!("-Dlog4j2.configurationFile={}", folder.join("log4j2.properties").display()));
    Ok(command)
}
