//! What a document may cost. All is counted before the document is validated or anything is done, and in time that grows
//! with its length only: fragments that name each other many times are not unrolled.

use std::collections::HashMap;

use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use async_graphql::{Name, ServerError};

use super::error::of_request;

/// Bytes of a document at the most. Variables are beside it.
const DOCUMENT_BYTES_MAX: usize = 16 * 1024;
/// Brackets within each other: the parser calls itself for each. It is more than the depth of fields, because arguments
/// and types have brackets, too.
const NESTING_MAX: usize = 40;
/// Levels of fields.
const DEPTH_MAX: usize = 8;
/// Levels of fields of the schema's description: clients ask for types within types within types.
const META_DEPTH_MAX: usize = 16;
/// Lists of the schema's description within each other: each multiplies the answer.
const META_LISTS_MAX: usize = 2;
/// Fields, those of a fragment each time it is used.
const COMPLEXITY_MAX: usize = 1000;
/// Fields under another name, counted in the same way.
const ALIASES_MAX: usize = 30;
/// Fragments of a document.
const FRAGMENTS_MAX: usize = 50;

/// The fields that describe the schema.
const META: [&str; 2] = ["__schema", "__type"];
/// Those below them that are lists of types or of fields.
const META_LISTS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];

/// What a part of a document costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cost {
    depth: usize,
    meta_depth: usize,
    meta_lists: usize,
    fields: usize,
    aliases: usize,
}

/// Counts a document.
struct Counter<'a> {
    document: &'a ExecutableDocument,
    /// What each fragment costs; nothing while it is being counted.
    fragments: HashMap<&'a Name, Option<Cost>>,
}

impl Cost {
    /// Both, one beside the other.
    fn beside(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            meta_depth: self.meta_depth.max(other.meta_depth),
            meta_lists: self.meta_lists.max(other.meta_lists),
            fields: self.fields.saturating_add(other.fields),
            aliases: self.aliases.saturating_add(other.aliases),
        }
    }

    /// A field with this below it.
    fn below(self, name: &str, has_alias: bool) -> Self {
        let deeper = Self {
            depth: self.depth + 1,
            meta_lists: self.meta_lists + usize::from(META_LISTS.contains(&name)),
            fields: self.fields.saturating_add(1),
            aliases: self.aliases.saturating_add(usize::from(has_alias)),
            ..self
        };
        if META.contains(&name) { Self { depth: 0, meta_depth: deeper.depth, ..deeper } } else { deeper }
    }
}

impl<'a> Counter<'a> {
    fn count(&mut self, set: &'a SelectionSet) -> Result<Cost, ServerError> {
        let mut sum = Cost::default();
        for item in &set.items {
            let cost = match &item.node {
                Selection::Field(field) => {
                    let below = self.count(&field.node.selection_set.node)?;
                    below.below(&field.node.name.node, field.node.alias.is_some())
                }
                Selection::InlineFragment(fragment) => self.count(&fragment.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node)?,
            };
            sum = sum.beside(cost);
        }
        Ok(sum)
    }

    fn fragment(&mut self, name: &'a Name) -> Result<Cost, ServerError> {
        match self.fragments.get(name) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => {
                return Err(of_request("GRAPHQL_VALIDATION_FAILED", format!("the fragment '{name}' is within itself")));
            }
            None => {}
        }
        // That a fragment is missing is found by the validation.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Cost::default()) };
        self.fragments.insert(name, None);
        let cost = self.count(&fragment.node.selection_set.node)?;
        self.fragments.insert(name, Some(cost));
        Ok(cost)
    }
}

/// Looks at the text, before it is parsed.
///
/// # Errors
/// It is too long, or nested too deep for a parser.
pub(super) fn check_text(text: &str) -> Result<(), ServerError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        let detail = format!(
            "the document has {} bytes; at most {DOCUMENT_BYTES_MAX} are taken, variables not counted",
            text.len()
        );
        return Err(of_request("QUERY_TOO_LARGE", detail));
    }
    if nesting(text) > NESTING_MAX {
        return Err(of_request(
            "QUERY_TOO_DEEP",
            format!("the document is nested more than {NESTING_MAX} levels deep"),
        ));
    }
    Ok(())
}

/// Looks at the document, before it is validated.
///
/// # Errors
/// It costs too much, or describes the schema although `introspection` is off.
pub(super) fn check_document(document: &ExecutableDocument, introspection: bool) -> Result<(), ServerError> {
    within("QUERY_TOO_COMPLEX", "fragments", document.fragments.len(), FRAGMENTS_MAX)?;
    let mut counter = Counter { document, fragments: HashMap::new() };
    let mut all = Cost::default();
    for (_, operation) in document.operations.iter() {
        let set = &operation.node.selection_set.node;
        all = all.beside(counter.count(set)?);
        let is_one_field = matches!(&set.items[..], [item] if matches!(item.node, Selection::Field(_)));
        if operation.node.ty == OperationType::Subscription && !is_one_field {
            return Err(of_request("GRAPHQL_VALIDATION_FAILED", "a subscription has one field"));
        }
    }
    // Fragments that no operation uses are walked by the validation, too.
    for name in document.fragments.keys() {
        counter.fragment(name)?;
    }
    if !introspection && all.meta_depth > 0 {
        let detail = "the schema is not told here: hub.introspection is off";
        return Err(of_request("INTROSPECTION_DISABLED", detail));
    }
    within("QUERY_TOO_DEEP", "levels", all.depth, DEPTH_MAX)?;
    within("QUERY_TOO_DEEP", "levels of the schema", all.meta_depth, META_DEPTH_MAX)?;
    within("QUERY_TOO_DEEP", "lists of the schema within each other", all.meta_lists, META_LISTS_MAX)?;
    within("QUERY_TOO_COMPLEX", "fields", all.fields, COMPLEXITY_MAX)?;
    within("QUERY_TOO_COMPLEX", "aliases", all.aliases, ALIASES_MAX)
}

fn within(code: &str, what: &str, count: usize, most: usize) -> Result<(), ServerError> {
    if count <= most {
        return Ok(());
    }
    Err(of_request(code, format!("the document has {count} {what}; at most {most} are taken")))
}

/// Brackets within each other at the deepest place. Texts and comments have none.
fn nesting(text: &str) -> usize {
    let (mut deepest, mut level) = (0_usize, 0_usize);
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' | b'(' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' | b')' => level = level.saturating_sub(1),
            b'#' => rest = skip_to(after, is_line_end),
            b'"' => rest = skip_text(after),
            _ => {}
        }
    }
    deepest
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn skip_to(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> &[u8] {
    let at = bytes.iter().position(|byte| is_end(*byte)).unwrap_or(bytes.len());
    &bytes[at..]
}

/// Skips the rest of a string, behind its first quote. A string that does not end on its line is an error, at which the
/// parser stops.
fn skip_text(bytes: &[u8]) -> &[u8] {
    if let Some(mut block) = bytes.strip_prefix(b"\"\"") {
        loop {
            block = skip_to(block, |byte| matches!(byte, b'"' | b'\\'));
            if let Some(after) = block.strip_prefix(b"\"\"\"") {
                return after;
            }
            if let Some(after) = block.strip_prefix(b"\\\"\"\"") {
                block = after;
                continue;
            }
            match block {
                [] => return block,
                [_, after @ ..] => block = after,
            }
        }
    }
    let mut line = bytes;
    loop {
        line = skip_to(line, |byte| matches!(byte, b'"' | b'\\') || is_line_end(byte));
        match line {
            [b'\\', _, after @ ..] => line = after,
            [b'"', after @ ..] => return after,
            _ => return line,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::Value;
    use async_graphql::parser::parse_query;

    use super::*;

    /// The code of the refusal; empty for a document that is taken.
    fn code(text: &str) -> String {
        let checked = check_text(text).and_then(|()| check_document(&parse_query(text).unwrap(), true));
        let code = checked.err().map(|error| error.extensions.unwrap().get("code").cloned());
        match code {
            None => String::new(),
            Some(Some(Value::String(code))) => code,
            Some(other) => panic!("{other:?}"),
        }
    }

    fn nested(depth: usize) -> String {
        format!("{}{}", "{a".repeat(depth), "}".repeat(depth))
    }

    #[test]
    fn fields_have_eight_levels() {
        assert_eq!((code(&nested(8)).as_str(), code(&nested(9)).as_str()), ("", "QUERY_TOO_DEEP"));
        assert_eq!(code(&nested(5_000)), "QUERY_TOO_DEEP");
        assert_eq!(code(&format!("{{a(b:{}", "[".repeat(16_000))), "QUERY_TOO_DEEP");
        assert_eq!(code(&nested(10_000)), "QUERY_TOO_LARGE");
    }

    #[test]
    fn fields_and_aliases_are_counted() {
        let fields = |count: usize| format!("{{{}}}", "id ".repeat(count));
        assert_eq!((code(&fields(1000)).as_str(), code(&fields(1001)).as_str()), ("", "QUERY_TOO_COMPLEX"));
        let aliases = |count: usize| {
            let fields: Vec<String> = (0..count).map(|number| format!("a{number}:id")).collect();
            format!("{{{}}}", fields.join(" "))
        };
        assert_eq!((code(&aliases(30)).as_str(), code(&aliases(31)).as_str()), ("", "QUERY_TOO_COMPLEX"));
    }

    #[test]
    fn fragments_count_each_time_and_are_not_unrolled() {
        let link = |number: usize| format!("fragment f{number} on Query {{ ...f{0} ...f{0} ...f{0} }}", number + 1);
        let chain: Vec<String> = (0..40).map(link).collect();
        let text = format!("{{ ...f0 }} {} fragment f40 on Query {{ id }}", chain.join(" "));
        assert_eq!(code(&text), "QUERY_TOO_COMPLEX");
        let circle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
        assert_eq!(code(circle), "GRAPHQL_VALIDATION_FAILED");
        let unused = "{ id } fragment a on Query { x { ...a } }";
        assert_eq!(code(unused), "GRAPHQL_VALIDATION_FAILED");
        let many: Vec<String> = (0..51).map(|number| format!("fragment f{number} on Query {{ id }}")).collect();
        assert_eq!(code(&format!("{{ id }} {}", many.join(" "))), "QUERY_TOO_COMPLEX");
    }

    #[test]
    fn the_schema_is_told_but_not_multiplied() {
        let of_type = |depth: usize| format!("{}name{}", "ofType{".repeat(depth), "}".repeat(depth));
        let usual = format!("{{__schema{{types{{fields{{args{{type{{{}}}}}}}}}}}}}", of_type(9));
        assert_eq!(code(&usual), "");
        let bomb = "{__schema{types{fields{type{fields{type{fields{type{name}}}}}}}}}";
        assert_eq!(code(bomb), "QUERY_TOO_DEEP");
        let document = parse_query("{ ...a } fragment a on Query { __type(name: \"Event\") { name } }").unwrap();
        assert!(check_document(&document, false).is_err() && check_document(&document, true).is_ok());
    }

    #[test]
    fn a_subscription_has_one_field() {
        assert_eq!(code("subscription { a b }"), "GRAPHQL_VALIDATION_FAILED");
        assert_eq!(code("subscription { ...a } fragment a on Subscription { b }"), "GRAPHQL_VALIDATION_FAILED");
        assert_eq!(code("subscription { a { b c } }"), "");
    }

    #[test]
    fn brackets_in_texts_and_comments_do_not_count() {
        for (text, expected) in [
            ("{a(b:\"[[[\\\"[[\")}", 2),
            ("{a(b:\"\"\"[[ \\\"\"\" [[ \" \"\" [\"\"\"){c}}", 2),
            ("# {{{{\n{a}", 1),
            ("# {{{{\r{a}", 1),
            ("\"[[\n[[", 2),
            ("\"\"{", 1),
            ("\"", 0),
            ("\"\\", 0),
            ("}}{", 1),
        ] {
            assert_eq!(nesting(text), expected, "{text}");
        }
    }
}
