//! What a process did to its files, as `strace -f -y` saw it, and whether it said so before it was durable.
//!
//! A file must be synced between its last change and the moment at which it gets another name; a folder, between the
//! moment at which a name in it came or went and the next word that the same thread sends to another process. Nothing
//! here depends on what a disk happens to keep: a sync that is left out is always seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::process::Under;

/// The calls that matter. A question mark: not every processor has it.
const CALLS: &str = "write,writev,pwrite64,?pwritev,ftruncate,copy_file_range,sendfile,fsync,fdatasync,?rename,\
    renameat,renameat2,?link,linkat,?mkdir,mkdirat,?unlink,unlinkat,sendto,sendmsg";
/// Characters of a text that are enough to tell answers apart.
const TEXT_CHARS: &str = "64";

/// The calls by which something is said, where they go to a socket.
const SAYING: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];

/// A tracer that writes into this file. It runs beside, so that the process keeps its own id and takes its own signals.
pub(crate) fn tracer(trace: &Path) -> Under {
    let words = ["strace", "-D", "-f", "-y", "-qq", "-s", TEXT_CHARS, "-e", &format!("trace={CALLS}"), "-o"];
    let mut command: Vec<String> = words.map(str::to_owned).into();
    command.push(trace.to_str().unwrap().to_owned());
    Under { command, env: Vec::new() }
}

/// What was found in a trace.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// What was told, or left, before it was durable.
    pub(crate) faults: Vec<String>,
    /// The names that files got.
    pub(crate) named: Vec<String>,
    /// The folders that were made.
    pub(crate) made: Vec<String>,
    /// The artifacts that were removed.
    pub(crate) removed: Vec<String>,
    /// Files that were cut.
    pub(crate) cut: Vec<String>,
    /// Posts that were acknowledged.
    pub(crate) acknowledged: usize,
    /// Files with changes that only memory holds.
    unsynced: BTreeSet<String>,
    /// Names that only memory holds, by folder; and the threads that made them.
    unsynced_names: BTreeMap<String, BTreeMap<String, String>>,
}

/// One call that came back, with the files and texts among its arguments.
struct Call<'a> {
    thread: &'a str,
    name: &'a str,
    files: Vec<&'a str>,
    texts: Vec<&'a str>,
}

/// Looks at everything that happened to what is in this folder.
pub(crate) fn watch(trace: &str, root: &Path) -> Watched {
    let root = format!("{}/", root.display());
    let mut watched = Watched::default();
    for line in whole_lines(trace) {
        if let Some(call) = parse(&line) {
            watched.see(&call, &root);
        }
    }
    for (folder, names) in std::mem::take(&mut watched.unsynced_names) {
        for what in names.into_values() {
            watched.faults.push(format!("{folder} was never synced after {what}"));
        }
    }
    watched
}

/// The lines of a trace, with those put together that were interrupted by other threads. What is said can be heard before
/// the call comes back, so it counts from its beginning, and also if the process was killed in it.
fn whole_lines(trace: &str) -> Vec<String> {
    let (mut begun, mut lines) = (BTreeMap::new(), Vec::new());
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            if is_said(head) {
                lines.push(format!("{thread} {head}) = 0"));
            } else {
                begun.insert(thread, head);
            }
        } else if let Some((_, tail)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            lines.extend(begun.remove(thread).map(|head| format!("{thread} {head}{tail}")));
        } else {
            lines.push(format!("{thread} {rest}"));
        }
    }
    lines
}

/// Whether a call sends something to another process: its name and the beginning of its arguments tell.
fn is_said(call: &str) -> bool {
    let Some((name, rest)) = call.split_once('(') else { return false };
    let file = rest.split_once('<').map_or("", |(_, file)| file);
    SAYING.contains(&name) && is_socket(file)
}

fn is_socket(file: &str) -> bool {
    file.starts_with("socket:") || file.starts_with("TCP")
}

/// A call that succeeded.
fn parse(line: &str) -> Option<Call<'_>> {
    let (thread, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") = ").or_else(|| {
        // It pads short calls.
        let (arguments, result) = rest.rsplit_once(" = ")?;
        Some((arguments.trim_end().strip_suffix(')')?, result))
    })?;
    let was_killed_saying = result.starts_with('?') && is_said(line.split_once(' ')?.1);
    if result.starts_with(['-', '?']) && !was_killed_saying {
        return None;
    }
    let (files, texts) = arguments_of(arguments);
    Some(Call { thread, name, files, texts })
}

/// The files behind descriptors, as in `7</a/b>`, and the quoted texts.
fn arguments_of(mut rest: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut files, mut texts) = (Vec::new(), Vec::new());
    while let Some(at) = rest.find(['<', '"']) {
        let is_text = rest[at..].starts_with('"');
        rest = &rest[at + 1..];
        let end = if is_text { end_of_text(rest) } else { rest.find('>') }.unwrap_or(rest.len());
        if is_text { &mut texts } else { &mut files }.push(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    (files, texts)
}

/// Where a text ends: at a quote that no backslash stands before.
fn end_of_text(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

impl Call<'_> {
    /// The paths that its names mean, each in the folder before it.
    fn paths(&self) -> Vec<String> {
        let folder = |index: usize| self.files.get(index).or(self.files.first()).copied().unwrap_or_default();
        let path = |(index, name): (usize, &&str)| {
            if name.starts_with('/') { (*name).to_owned() } else { format!("{}/{name}", folder(index)) }
        };
        self.texts.iter().enumerate().map(path).collect()
    }
}

impl Watched {
    fn see(&mut self, call: &Call<'_>, root: &str) {
        let file = call.files.first().copied().unwrap_or_default();
        match call.name {
            name if SAYING.contains(&name) && is_socket(file) => self.told(call),
            "write" | "writev" | "pwrite64" | "pwritev" | "sendfile" => self.changed(file, root),
            "copy_file_range" => self.changed(call.files.get(1).copied().unwrap_or_default(), root),
            "ftruncate" => {
                self.cut.push(file.to_owned());
                self.changed(file, root);
            }
            "fsync" | "fdatasync" => {
                self.unsynced.remove(file);
                self.unsynced_names.remove(file);
            }
            "rename" | "renameat" | "renameat2" | "link" | "linkat" => self.renamed(call, root),
            "mkdir" | "mkdirat" => self.made(call, root),
            "unlink" | "unlinkat" => self.removed(call, root),
            _ => {}
        }
    }

    fn changed(&mut self, file: &str, root: &str) {
        // What SQLite writes it syncs itself; a database counts when its log is gone and it is one file.
        if file.starts_with(root) && !file.contains(".sqlite") {
            self.unsynced.insert(file.to_owned());
        }
    }

    fn renamed(&mut self, call: &Call<'_>, root: &str) {
        let paths = call.paths();
        let [from, to] = paths.as_slice() else { return };
        if !to.starts_with(root) {
            return;
        }
        if self.unsynced.remove(from) {
            self.faults.push(format!("{from} was not synced before it became {to}"));
        }
        self.named.push(to.clone());
        let (before, after) = (folder_of(from), folder_of(to));
        self.unsynced_name(call, after, format!("{to} came into it"));
        if before != after {
            self.unsynced_name(call, before, format!("{from} left it"));
        }
    }

    fn made(&mut self, call: &Call<'_>, root: &str) {
        let paths = call.paths();
        for path in paths.iter().filter(|path| path.starts_with(root)) {
            self.made.push(path.clone());
            self.unsynced_name(call, folder_of(path), format!("{path} was made in it"));
        }
    }

    fn removed(&mut self, call: &Call<'_>, root: &str) {
        for path in call.paths().into_iter().filter(|path| path.starts_with(root)) {
            self.unsynced.remove(&path);
            // What was in the log of a database is in the database alone now.
            if let Some(database) = path.strip_suffix("-wal") {
                self.unsynced.insert(database.to_owned());
            }
            let name = path.rsplit('/').next().unwrap_or_default();
            if shopctl::pipeline::files::folder::Artifact::from_file_name(name).is_some() {
                self.unsynced_name(call, folder_of(&path), format!("{path} was removed"));
                self.removed.push(path);
            }
        }
    }

    fn unsynced_name(&mut self, call: &Call<'_>, folder: &str, what: String) {
        self.unsynced_names.entry(folder.to_owned()).or_default().insert(call.thread.to_owned(), what);
    }

    /// Another process is sent something.
    fn told(&mut self, call: &Call<'_>) {
        // Removing may be done again: it is durable when its folder is cleared, not when the next file is asked for.
        let is_open = |what: &&String| !what.ends_with("was removed");
        for (folder, names) in &self.unsynced_names {
            if let Some(what) = names.get(call.thread).filter(is_open) {
                self.faults.push(format!("{folder} was not synced after {what} and before something was said"));
            }
        }
        if call.texts.first().is_some_and(|text| text.starts_with("HTTP/1.1 202")) {
            self.acknowledged += 1;
            let open = self.unsynced.iter().filter(|file| file.ends_with(".spool"));
            self.faults.extend(open.map(|spool| format!("a post was acknowledged before {spool} was synced")));
        }
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of these calls on the folder `/s`.
    fn faults(calls: &[&str]) -> Vec<String> {
        watch(&calls.join("\n"), Path::new("/s")).faults
    }

    const WRITTEN: &str = r#"7 write(5</s/e/.x.tmp>, "a < b > \"c\"\n"..., 9) = 9"#;
    const SYNCED: &str = "7 fsync(5</s/e/.x.tmp>)           = 0";
    const NAMED: &str = r#"7 renameat2(6</s/e>, ".x.tmp", 8</s/e>, "x", RENAME_NOREPLACE) = 0"#;
    const FOLDER: &str = "7 fsync(8</s/e>) = 0";
    const TOLD: &str = r#"7 sendto(9<socket:[77]>, "POST /done", 10, 0, NULL, 0) = 10"#;

    #[test]
    fn a_sync_that_is_left_out_is_seen() {
        assert_eq!(faults(&[WRITTEN, SYNCED, NAMED, FOLDER, TOLD]), [] as [String; 0]);
        assert!(
            faults(&[WRITTEN, NAMED, FOLDER, TOLD])[0].contains("/s/e/.x.tmp was not synced before it became /s/e/x")
        );
        assert!(faults(&[SYNCED, WRITTEN, NAMED, FOLDER])[0].contains("not synced"), "synced too early");
        assert!(faults(&[WRITTEN, SYNCED, NAMED, TOLD, FOLDER])[0].contains("before something was said"));
        assert!(faults(&[WRITTEN, SYNCED, NAMED])[0].contains("never synced"));
        let failed = FOLDER.replace("= 0", "= -1 EIO (Input/output error)");
        assert!(!faults(&[WRITTEN, SYNCED, NAMED, &failed]).is_empty());
        assert!(
            faults(&[&NAMED.replace("8</s/e>", "8</s/f>"), &FOLDER.replace("/s/e", "/s/f")])[0].contains("left it")
        );
    }

    #[test]
    fn threads_are_put_together_and_told_apart() {
        let interrupted =
            ["7 fsync(5</s/e/.x.tmp> <unfinished ...>", "8 fsync(3</s>) = 0", "7 <... fsync resumed>) = 0"];
        assert_eq!(faults(&[&[WRITTEN][..], &interrupted, &[NAMED, FOLDER]].concat()), [] as [String; 0]);
        assert_eq!(faults(&[WRITTEN, SYNCED, NAMED, &TOLD.replacen('7', "6", 1), FOLDER]), [] as [String; 0]);
        let begun = TOLD.replace(") = 10", " <unfinished ...>");
        assert!(faults(&[WRITTEN, SYNCED, NAMED, &begun, FOLDER])[0].contains("before something was said"));
    }

    #[test]
    fn folders_removals_and_databases_count_too() {
        let made = r#"7 mkdirat(3</s>, "e", 0777) = 0"#;
        assert!(faults(&[made])[0].contains("/s was never synced after /s/e was made in it"));
        let removed = r#"7 unlinkat(3</s/e>, "20250101000000.event-ingest.txt", 0) = 0"#;
        assert_eq!(faults(&[removed, TOLD, "7 fsync(3</s/e>) = 0"]), [] as [String; 0]);
        assert!(faults(&[removed])[0].contains("was removed"));
        let log = r#"7 unlink("/s/w.sqlite.new-wal") = 0"#;
        let named = r#"7 renameat2(6</s>, "w.sqlite.new", 8</s>, "w.sqlite", 0) = 0"#;
        let folder = "7 fsync(8</s>) = 0";
        assert!(faults(&[log, named, folder])[0].contains("w.sqlite.new was not synced"));
        assert_eq!(faults(&[log, "7 fsync(5</s/w.sqlite.new>) = 0", named, folder]), [] as [String; 0]);
    }

    #[test]
    fn a_post_is_acknowledged_when_its_spool_is_synced() {
        let appended = r#"7 write(5</s/events/spool/1.spool>, "{}", 2) = 2"#;
        let synced = "7 fdatasync(5</s/events/spool/1.spool>) = 0";
        let answer = r#"9 writev(4<socket:[1]>, [{iov_base="HTTP/1.1 202 Accepted", iov_len=21}], 1) = 21"#;
        assert_eq!(faults(&[appended, synced, answer]), [] as [String; 0]);
        assert!(faults(&[appended, answer, synced])[0].contains("acknowledged before"));
    }
}
