//! The tables of what was measured in Envoy.

use mtls_gate::measure::{Series, table};
use serde::Serialize;

use super::Result;
use super::plan::Section;

/// Starts of Envoy until the first answer, in milliseconds.
#[derive(Serialize)]
pub(crate) struct Start {
    pub(crate) name: &'static str,
    pub(crate) time: Series,
    pub(crate) cpu: Series,
}

/// CPU and throughput of a section's cases, with their ratios to the one named.
pub(crate) fn cases(section: &Section, base: &str) -> Result<String> {
    let over = format!("over {base}");
    let titles = [
        section.title,
        "CPU µs/request",
        &over,
        "requests/s",
        &over,
        "Envoy busy",
        "MiB",
    ];
    let base = section.case(base)?;
    let rows = section.cases.iter().map(|case| {
        vec![
            case.name.clone(),
            case.cpu.show(0),
            case.cpu.over(&base.cpu).show(2),
            case.throughput.show(0),
            case.throughput.over(&base.throughput).show(2),
            case.busy.show(2),
            format!("{:.0}–{:.0}", case.resident_mib[0], case.resident_mib[1]),
        ]
    });
    Ok(table(titles.map(str::to_owned).into(), rows))
}

/// How long starts take, by the clock and in CPU time.
pub(crate) fn starts(starts: &[Start]) -> String {
    let titles = ["start of Envoy", "ms", "CPU ms"];
    let rows = starts
        .iter()
        .map(|start| vec![start.name.to_owned(), start.time.show(0), start.cpu.show(0)]);
    table(titles.map(str::to_owned).into(), rows)
}

/// Linear memory in MiB, before the first request and when the cache is full.
pub(crate) fn memory(measured: &[(String, [f64; 2])]) -> String {
    let titles = ["memory of the VM, MiB", "empty", "full"];
    let rows = measured.iter().map(|(name, memory)| {
        let [empty, full] = memory.map(|mib| format!("{mib:.1}"));
        vec![name.clone(), empty, full]
    });
    table(titles.map(str::to_owned).into(), rows)
}

/// What was compared, the honest chain, the worst one, the ratio, how the worst one is arranged.
pub(crate) fn worst(rows: &[[String; 5]]) -> String {
    let titles = ["the filter's own CPU, µs", "honest", "worst", "ratio", ""];
    table(
        titles.map(str::to_owned).into(),
        rows.iter().map(|row| row.to_vec()),
    )
}
