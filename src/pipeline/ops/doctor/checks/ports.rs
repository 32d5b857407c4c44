//! Ports: free, or held by a role.

use crate::pipeline::ops::doctor::Finding;
use crate::pipeline::ops::doctor::facts::{Holder, PortFact};

/// Judges one port.
pub(super) fn check(fact: &PortFact) -> Finding {
    let PortFact { role, port, holder } = fact;
    let name = format!("port {port}");
    let todo = || format!("end it, or give {role} another port with --set server.port=N: docs/runbook.md#port-taken");
    match holder {
        Holder::Free => Finding::ok(name, format!("free for {role}")),
        Holder::Role(version) => Finding::ok(name, format!("a role of shopctl {version} answers")),
        Holder::Stranger(which) => {
            let found =
                format!("{which} answers, which has noted no address in this shared folder: another pipeline's?");
            Finding::warn(name, found, todo())
        }
        Holder::Still(pid) => Finding::fail(
            name,
            format!("process {pid} of shopctl holds the port and does not answer"),
            format!("kill -CONT {pid}, or end it and start {role} again: docs/runbook.md#stuck-worker"),
        ),
        Holder::Foreign(Some((pid, process))) => {
            Finding::fail(name, format!("process {pid} ({process}) has it, which is no role of shopctl"), todo())
        }
        Holder::Foreign(None) => {
            Finding::fail(name, "something that is no role of shopctl has it; root sees which process", todo())
        }
        Holder::Refused(why) => Finding::fail(name, why.as_str(), todo()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ops::doctor::Level;

    #[test]
    fn a_port_is_ours_or_free_or_its_holder_is_named() {
        let level = |holder| check(&PortFact { role: "pipeline-apid".to_owned(), port: 8082, holder });
        assert_eq!(level(Holder::Free).level, Level::Ok);
        assert_eq!(level(Holder::Role("0.1.0".to_owned())).level, Level::Ok);
        let still = level(Holder::Still(17));
        assert!(still.level == Level::Fail && still.found.contains("process 17 of shopctl holds the port"));
        assert!(still.todo.is_some_and(|todo| todo.contains("#stuck-worker")));
        let stranger = level(Holder::Stranger("balance-daemon (0.1.0)".to_owned()));
        assert!(stranger.level == Level::Warn && stranger.todo.is_some_and(|todo| todo.contains("#port-taken")));
        assert_eq!(level(Holder::Foreign(None)).level, Level::Fail);
        assert_eq!(level(Holder::Refused("no right".to_owned())).level, Level::Fail);
        assert!(level(Holder::Foreign(Some((17, "nginx".to_owned())))).found.contains("process 17 (nginx)"));
    }
}
