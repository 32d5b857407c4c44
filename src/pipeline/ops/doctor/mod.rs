//! What may be wrong around the roles: folders, disks, databases, ports, files that were left behind, settings.
//!
//! [`gather`] collects facts and changes nothing; each file in `checks/` judges some of them in pure functions, and says
//! of each what was found and what to do.

pub mod checks;
pub mod facts;
pub mod gather;

use serde::Serialize;

/// How good or bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and may not go on to.
    Warn,
    /// Something does not work.
    Fail,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How good or bad it is.
    pub level: Level,
    /// What was looked at.
    pub check: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
    /// Whether it may be over by itself: something does not answer now.
    pub is_temporary: bool,
}

impl Finding {
    /// All is well.
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, check: check.into(), found: found.into(), todo: None, is_temporary: false }
    }

    /// It works, and may not go on to.
    pub fn warn(check: impl Into<String>, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { level: Level::Warn, todo: Some(todo.into()), ..Self::ok(check, found) }
    }

    /// Something does not work.
    pub fn fail(check: impl Into<String>, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { level: Level::Fail, todo: Some(todo.into()), ..Self::ok(check, found) }
    }
}

/// How many findings there are of each level, and whether all failures may be over by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DoctorSummary {
    /// Findings that are well.
    pub ok: usize,
    /// Warnings.
    pub warn: usize,
    /// Failures.
    pub fail: usize,
    /// Failures that may be over by themselves.
    pub temporary: usize,
}

impl DoctorSummary {
    /// Counts findings.
    pub fn of(findings: &[Finding]) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let temporary = findings.iter().filter(|finding| finding.level == Level::Fail && finding.is_temporary).count();
        Self { ok: count(Level::Ok), warn: count(Level::Warn), fail: count(Level::Fail), temporary }
    }
}

/// A line for each finding, and one for what to do.
pub fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { level, check, found, todo, .. } in findings {
        let level = match level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        text.push_str(&format!("{level:<6}{check:<28}{found}\n"));
        if let Some(todo) = todo {
            text.push_str(&format!("{:<34}-> {todo}\n", ""));
        }
    }
    let DoctorSummary { ok, warn, fail, .. } = DoctorSummary::of(findings);
    text.push_str(&format!("\n{ok} ok, {warn} warnings, {fail} failures\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_each_says_what_to_do() {
        let away = Finding { is_temporary: true, ..Finding::fail("tracking", "no answer", "start it") };
        let findings = [Finding::ok("a", "fine"), Finding::warn("b", "odd", "look"), away];
        assert_eq!(DoctorSummary::of(&findings), DoctorSummary { ok: 1, warn: 1, fail: 1, temporary: 1 });
        let text = table(&findings);
        assert!(
            text.contains("FAIL  tracking")
                && text.contains("-> start it")
                && text.ends_with("1 ok, 1 warnings, 1 failures\n")
        );
    }
}
