//! Writes the event line of a row. A row that cannot be mapped becomes a line too. That line is refused later, with its
//! reason, and is kept like every other refused line.

use super::field::Field;
use super::latest::Latest;
use super::map::Map;
use super::rows::CsvRow;
use super::rule::{Rule, Then};
use super::source::{Source, Unmapped, json_text};
use crate::pipeline::event::Kind;
use crate::pipeline::ingest::accept;

/// What a row became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MadeLine {
    /// It is left out by the rule of this number, from 0.
    Skipped(usize),
    /// An event of this kind.
    Event(Kind),
    /// A line that will be refused.
    Unmapped,
}

/// A line in the making.
#[derive(Default)]
struct Draft {
    kind: Option<Kind>,
    payload: String,
    /// As JSON.
    timestamp: Option<String>,
    order: Option<i64>,
    faults: Vec<String>,
}

/// Writes the line of a row, with its line feed, unless the row is left out.
pub(super) fn write(row: &CsvRow<'_>, map: &Map, latest: &mut Latest, out: &mut Vec<u8>) -> MadeLine {
    let mut draft = Draft::default();
    match rule_of(row, map) {
        Err(why) => draft.faults.push(why),
        Ok((index, Rule { then: Then::Skip(_), .. })) => return MadeLine::Skipped(index),
        Ok((_, Rule { then: Then::Event { kind, fields }, .. })) => draft.fill(*kind, fields, row, map, latest),
    }
    draft.write(row, out);
    if !draft.faults.is_empty() {
        // What is wrong may be in something that no check asks for: then the event has no type, for which it is refused.
        if accept::check(out.trim_ascii_end()).is_ok() {
            draft.kind = None;
            draft.write(row, out);
        }
        return MadeLine::Unmapped;
    }
    if let (Some(Kind::Purchase), Some(order)) = (draft.kind, draft.order) {
        // A purchase that is refused for its shape is none that a return could name.
        if latest.is_used() && accept::check(out.trim_ascii_end()).is_ok() {
            latest.note(row, order);
        }
    }
    draft.kind.map_or(MadeLine::Unmapped, MadeLine::Event)
}

fn rule_of<'m>(row: &CsvRow<'_>, map: &'m Map) -> Result<(usize, &'m Rule), String> {
    if let Some(fault) = row.fault() {
        return Err(fault);
    }
    for (index, rule) in map.rules.iter().enumerate() {
        if rule.fits(row, map.file.marks)? {
            return Ok((index, rule));
        }
    }
    Err("no rule fits the row".to_owned())
}

impl Draft {
    fn fill(&mut self, kind: Kind, fields: &[(Field, Source)], row: &CsvRow<'_>, map: &Map, latest: &Latest) {
        self.kind = Some(kind);
        let extra = map.extra.iter().map(|(name, source)| (name.as_str(), super::field::Form::Text, source));
        let fields = fields.iter().map(|(field, source)| (field.name, field.form, source));
        for (name, form, source) in fields.chain(extra) {
            let json = source.value(form, row, map.file.marks, latest).unwrap_or_else(|Unmapped { json, why }| {
                self.faults.push(format!("{name}: {why}"));
                json
            });
            let Some(json) = json else { continue };
            if name == "order_id" {
                self.order = json.parse().ok();
            }
            let comma = if self.payload.is_empty() { "" } else { "," };
            self.payload.push_str(&format!("{comma}{}:{json}", json_text(name)));
        }
        let time = map.time.of(row).map(|moment| moment.to_string()).unwrap_or_else(|(text, why)| {
            self.faults.push(why);
            text
        });
        self.timestamp = Some(json_text(&time));
    }

    fn write(&self, row: &CsvRow<'_>, out: &mut Vec<u8>) {
        out.clear();
        let mut parts = Vec::new();
        parts.extend(self.kind.map(|kind| format!("\"event_type\":{}", kind.number())));
        parts.extend(self.timestamp.as_ref().map(|_| format!("\"payload\":{{{}}}", self.payload)));
        parts.extend(self.timestamp.as_ref().map(|time| format!("\"timestamp\":{time}")));
        parts.push(format!("\"row\":{}", row.number));
        if !self.faults.is_empty() {
            if row.line != row.number {
                parts.push(format!("\"line\":{}", row.line));
            }
            parts.push(format!("\"unmapped\":{}", serde_json::Value::from(self.faults.clone())));
            parts.push(format!("\"cells\":{}", row.cells()));
        }
        out.extend_from_slice(format!("{{{}}}\n", parts.join(",")).as_bytes());
    }
}
