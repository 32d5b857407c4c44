//! Database servers: version, durability, packets, clock.

use std::time::Duration;

use crate::base::db::ServerFacts;
use crate::pipeline::ops::doctor::Finding;

/// A clock that differs by less is as good as ours.
const AHEAD_MS_FEW: u64 = 1000;
/// The least versions: MySQL, MariaDB.
const VERSIONS_MIN: [(u32, u32); 2] = [(8, 0), (10, 6)];

/// Judges what a server says of itself.
pub(super) fn check(name: &str, server: &ServerFacts, packet_bytes_min: u64) -> Vec<Finding> {
    let value = |variable: &str| server.variables.get(variable).map_or("", String::as_str);
    let is_off = |variable: &str| value(variable) == "0" || value(variable).eq_ignore_ascii_case("off");
    let is_on = |variable: &str| value(variable) == "1" || value(variable).eq_ignore_ascii_case("on");
    let mut findings = vec![version(name, &server.version)];
    let flush = value("innodb_flush_log_at_trx_commit");
    if !flush.is_empty() && flush != "1" {
        findings.push(Finding::warn(
            name,
            format!("innodb_flush_log_at_trx_commit is {flush}: a power cut may undo commits that were acknowledged"),
            "set it to 1 in the server's configuration",
        ));
    }
    if is_off("innodb_doublewrite") {
        let found = "innodb_doublewrite is off: a power cut may tear pages";
        findings.push(Finding::warn(name, found, "set it to ON, unless the disk writes pages whole"));
    }
    if is_on("read_only") || is_on("super_read_only") {
        let todo = "make it writable, or name the primary: docs/runbook.md#database-read-only";
        findings.push(Finding::fail(name, "the server is read-only", todo));
    }
    let packet: Option<u64> = value("max_allowed_packet").parse().ok();
    if let Some(packet) = packet.filter(|packet| *packet < packet_bytes_min) {
        findings.push(Finding::fail(
            name,
            format!("max_allowed_packet is {packet}, and one row here may need {packet_bytes_min}"),
            format!(
                "SET GLOBAL max_allowed_packet = {}, and the same in its configuration",
                packet_bytes_min.next_power_of_two()
            ),
        ));
    }
    if !value("sql_mode").contains("STRICT_") {
        findings.push(Finding::ok(
            name,
            "sql_mode is not strict; sessions of shopctl set their own, others may cut values",
        ));
    }
    findings
}

fn version(name: &str, version: &str) -> Finding {
    let is_mariadb = version.contains("MariaDB");
    let least = VERSIONS_MIN[usize::from(is_mariadb)];
    // Old MariaDB servers put a 5.5.5- before their own number.
    let mut numbers = version.trim_start_matches("5.5.5-").split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= least {
        return Finding::ok(name, format!("the server is {version}"));
    }
    let (kind, (major, minor)) = (if is_mariadb { "MariaDB" } else { "MySQL" }, least);
    Finding::fail(name, format!("the server is {version}"), format!("{kind} {major}.{minor} or later is needed"))
}

/// Judges the clock of a server, on which leases are.
pub(super) fn clock(name: &str, ahead_ms: i64, lease: Duration) -> Finding {
    let (difference, lease_ms) = (ahead_ms.unsigned_abs(), u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
    let found = format!("the server's clock is {ahead_ms} ms ahead of ours");
    let todo = "run NTP on both machines: docs/runbook.md#clock-differs";
    if difference < AHEAD_MS_FEW {
        Finding::ok(name, found)
    } else if difference.saturating_mul(2) < lease_ms {
        Finding::warn(name, found, todo)
    } else {
        Finding::fail(name, found, todo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::timestamp::Timestamp;
    use crate::pipeline::ops::doctor::Level;

    fn levels(version: &str, variables: &[(&str, &str)]) -> Vec<Level> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let server = ServerFacts { version: version.to_owned(), now: Timestamp::from_unix_ms(0), variables };
        check("d", &server, 65_536).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn settings_that_lose_data_or_rows_are_named() {
        let strict = ("sql_mode", "STRICT_ALL_TABLES");
        assert_eq!(levels("9.1.0", &[strict, ("innodb_flush_log_at_trx_commit", "1")]), [Level::Ok]);
        for (variable, value, level) in [
            ("innodb_flush_log_at_trx_commit", "2", Level::Warn),
            ("innodb_doublewrite", "OFF", Level::Warn),
            ("read_only", "ON", Level::Fail),
            ("max_allowed_packet", "1024", Level::Fail),
        ] {
            assert_eq!(levels("9.1.0", &[strict, (variable, value)]), [Level::Ok, level], "{variable}");
        }
        assert_eq!(levels("8.0.1", &[("sql_mode", "")]), [Level::Ok, Level::Ok]);
    }

    #[test]
    fn old_servers_are_refused() {
        for (version, level) in [
            ("8.0.36", Level::Ok),
            ("5.7.44-log", Level::Fail),
            ("10.11.6-MariaDB-1", Level::Ok),
            ("5.5.5-10.6.1-MariaDB", Level::Ok),
            ("10.5.9-MariaDB", Level::Fail),
            ("?", Level::Fail),
        ] {
            assert_eq!(levels(version, &[("sql_mode", "STRICT_ALL_TABLES")]), [level], "{version}");
        }
    }

    #[test]
    fn a_clock_may_differ_by_less_than_half_a_lease() {
        let lease = Duration::from_secs(60);
        for (ahead, level) in
            [(0, Level::Ok), (-999, Level::Ok), (1000, Level::Warn), (-29_999, Level::Warn), (30_000, Level::Fail)]
        {
            assert_eq!(clock("d", ahead, lease).level, level, "{ahead}");
        }
    }
}
