//! Use of resources by the process, under the metric names that every exporter uses.
//!
//! Each scrape reads `/proc`. A system without it (macOS) reports the start time only.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use std::{fmt, fs};

/// This process.
#[derive(Debug)]
pub(crate) struct Process {
    /// In seconds since 1970 UTC.
    started: f64,
}

/// Current use of resources, as the operating system reports it.
struct Usage {
    cpu_seconds: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Process {
    pub(crate) fn new() -> Self {
        Self { started: jiff::Timestamp::now().as_duration().as_secs_f64() }
    }
}

#[expect(clippy::cast_precision_loss, reason = "ticks since the start stay far below 2^52")]
fn usage() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may contain any character, so the fields are counted after it: the state is field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some(Usage {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * rustix::param::page_size() as u64,
    })
}

/// Open files, and their limit.
fn files() -> Option<(u64, Option<u64>)> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1); // without the descriptor of this read
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    Some((u64::try_from(open).ok()?, most))
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let to = &mut encoder;
        let started = ConstGauge::<f64>::new(self.started);
        write(to, "process_start_time_seconds", "Start time of the process, in seconds since 1970 UTC.", &started)?;
        if let Some(usage) = usage() {
            let gauge = ConstGauge::<u64>::new;
            let cpu = ConstCounter::<f64>::new(usage.cpu_seconds);
            write(to, "process_cpu_seconds", "Processor time, user and system.", &cpu)?;
            write(to, "process_threads", "Threads.", &gauge(usage.threads))?;
            write(to, "process_virtual_memory_bytes", "Mapped memory.", &gauge(usage.virtual_bytes))?;
            write(to, "process_resident_memory_bytes", "Resident memory.", &gauge(usage.resident_bytes))?;
        }
        if let Some((open, most)) = files() {
            write(to, "process_open_fds", "Open files and sockets.", &ConstGauge::<u64>::new(open))?;
            if let Some(most) = most {
                write(to, "process_max_fds", "Limit of open files and sockets.", &ConstGauge::<u64>::new(most))?;
            }
        }
        Ok(())
    }
}

fn write(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
    metric.encode(to.encode_descriptor(name, help, None, metric.metric_type())?)
}
