//! The checks: facts in, findings out. None of them looks at anything else.

mod databases;
mod disks;
mod folders;
mod orphans;
mod ports;
mod process;
mod servers;
mod settings;

use super::Finding;
use super::facts::Facts;
use crate::pipeline::settings::Settings;

/// All findings, in the order in which a person looks.
pub fn all(facts: &Facts, settings: &Settings) -> Vec<Finding> {
    let has_embedded = facts.databases.iter().any(|database| database.is_embedded);
    let mut findings = settings::check(settings);
    findings.extend(facts.token_files.iter().map(process::token_file));
    findings.extend(facts.folders.iter().map(|folder| folders::check(folder, has_embedded)));
    findings.extend(facts.disks.iter().flat_map(disks::check));
    for database in &facts.databases {
        findings.extend(databases::check(database, settings.pipeline.lease));
    }
    findings.extend(facts.ports.iter().map(ports::check));
    findings.extend(orphans::check(&facts.orphans));
    findings.push(process::open_files(facts.open_files_max, settings.server.max_connections));
    findings
}
