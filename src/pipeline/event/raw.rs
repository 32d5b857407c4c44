//! Reads one line as JSON, strictly: any key order, unknown keys kept, but no duplicate keys, no NUL, no lone
//! surrogate and no nesting over 128 levels anywhere, also in what is not used (docs/contracts.md, 1).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::reject::{Reason, Reject};

/// A JSON value as far as an event needs it: everything but a scalar is only known to be there.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Scalar<'a> {
    /// The key is not there.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// Something that no field of an event is; the words say what.
    Other(&'static str),
}

impl Scalar<'_> {
    /// What this is, in the words of an error message.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Absent => "missing",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Text(_) => "a string",
            Self::Other(what) => what,
        }
    }
}

/// A line's top level. `P` is [`RawPayload`] to read the payload in the same pass, or [`RawValue`] to keep its text.
#[derive(Debug)]
pub struct RawEvent<'a, P> {
    /// `event_type`.
    pub event_type: Scalar<'a>,
    /// `timestamp`.
    pub timestamp: Scalar<'a>,
    /// `saved_at`.
    pub saved_at: Scalar<'a>,
    /// `payload`, if the key is there.
    pub payload: Option<P>,
}

/// The payload's fields before any check.
#[derive(Debug, Default)]
pub struct RawPayload<'a> {
    /// `shop_id`.
    pub shop_id: Scalar<'a>,
    /// `order_id`.
    pub order_id: Scalar<'a>,
    /// `user_id`.
    pub user_id: Scalar<'a>,
    /// `good_id`.
    pub good_id: Scalar<'a>,
    /// `qty`.
    pub qty: Scalar<'a>,
    /// `delta_count`.
    pub delta_count: Scalar<'a>,
    /// `active`.
    pub active: Scalar<'a>,
    /// `reason`.
    pub reason: Scalar<'a>,
    /// `sub_event_type`.
    pub sub_event_type: Scalar<'a>,
    /// `idempotency_key`.
    pub idempotency_key: Scalar<'a>,
    /// `price_at_order`, as text: money never goes through a float.
    pub price_at_order: Option<&'a str>,
    /// `new_price`, as text.
    pub new_price: Option<&'a str>,
    /// `old_price`, as text.
    pub old_price: Option<&'a str>,
    /// `refund_amount`, as text.
    pub refund_amount: Option<&'a str>,
    /// Keys that the contract does not name, with the text of their values.
    pub unknown: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a, P: Deserialize<'a>> RawEvent<'a, P> {
    /// Reads one line without its line feed.
    ///
    /// # Errors
    /// A [`Reject`] with `bad_utf8`, `bad_line_end`, `bad_json`, or `malformed` for JSON that is well-formed but refused.
    pub fn parse(line: &'a [u8]) -> Result<Self, Reject> {
        let text = std::str::from_utf8(line).map_err(|e| {
            Reject::new(Reason::BadUtf8, format!("byte {} starts no UTF-8 character", e.valid_up_to() + 1))
        })?;
        if text.ends_with('\r') {
            return Err(Reject::new(Reason::BadLineEnd, "the line ends in CR LF; write LF alone"));
        }
        serde_json::from_str(text).map_err(|e| describe(text, &e))
    }
}

fn describe(text: &str, error: &serde_json::Error) -> Reject {
    if text.starts_with('\u{feff}') {
        return Reject::new(Reason::BadJson, "the line starts with a byte order mark; write UTF-8 without one");
    }
    if text.trim().is_empty() {
        return Reject::new(Reason::BadJson, "the line is empty");
    }
    let reason = if error.is_data() { Reason::Malformed } else { Reason::BadJson };
    Reject::new(reason, error.to_string())
}

/// Notes a key's value, refusing the second one of the same name.
fn put<'de, T: PartialEq + Default, A: MapAccess<'de>>(
    slot: &mut T,
    map: &mut A,
    name: &str,
    read: impl FnOnce(&mut A) -> Result<T, A::Error>,
) -> Result<(), A::Error> {
    if *slot != T::default() {
        return Err(de::Error::custom(format_args!("the key '{}' stands twice", name.escape_debug())));
    }
    *slot = read(map)?;
    Ok(())
}

fn scalar<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Scalar<'de>, A::Error> {
    map.next_value()
}

fn number_text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<&'de str>, A::Error> {
    Ok(Some(map.next_value::<&'de RawValue>()?.get()))
}

impl<'de, P: Deserialize<'de>> Deserialize<'de> for RawEvent<'de, P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor(PhantomData))
    }
}

struct EventVisitor<P>(PhantomData<P>);

impl<'de, P: Deserialize<'de>> Visitor<'de> for EventVisitor<P> {
    type Value = RawEvent<'de, P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event: a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut event_type, mut timestamp, mut saved_at) = (Scalar::Absent, Scalar::Absent, Scalar::Absent);
        let mut payload = None;
        let mut unknown = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            match key.as_ref() {
                "event_type" => put(&mut event_type, &mut map, &key, scalar)?,
                "timestamp" => put(&mut timestamp, &mut map, &key, scalar)?,
                "saved_at" => put(&mut saved_at, &mut map, &key, scalar)?,
                "payload" if payload.is_some() => return Err(de::Error::custom("the key 'payload' stands twice")),
                "payload" => payload = Some(map.next_value()?),
                _ => {
                    map.next_value::<Checked>()?;
                    unknown.push(key);
                }
            }
        }
        refuse_twins(unknown)?;
        Ok(RawEvent { event_type, timestamp, saved_at, payload })
    }
}

impl<'de> Deserialize<'de> for RawPayload<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = RawPayload<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload: a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut p = RawPayload::default();
        while let Some(Key(key)) = map.next_key()? {
            match key.as_ref() {
                "shop_id" => put(&mut p.shop_id, &mut map, &key, scalar)?,
                "order_id" => put(&mut p.order_id, &mut map, &key, scalar)?,
                "user_id" => put(&mut p.user_id, &mut map, &key, scalar)?,
                "good_id" => put(&mut p.good_id, &mut map, &key, scalar)?,
                "qty" => put(&mut p.qty, &mut map, &key, scalar)?,
                "delta_count" => put(&mut p.delta_count, &mut map, &key, scalar)?,
                "active" => put(&mut p.active, &mut map, &key, scalar)?,
                "reason" => put(&mut p.reason, &mut map, &key, scalar)?,
                "sub_event_type" => put(&mut p.sub_event_type, &mut map, &key, scalar)?,
                "idempotency_key" => put(&mut p.idempotency_key, &mut map, &key, scalar)?,
                "price_at_order" => put(&mut p.price_at_order, &mut map, &key, number_text)?,
                "new_price" => put(&mut p.new_price, &mut map, &key, number_text)?,
                "old_price" => put(&mut p.old_price, &mut map, &key, number_text)?,
                "refund_amount" => put(&mut p.refund_amount, &mut map, &key, number_text)?,
                _ => {
                    let value = map.next_value::<&RawValue>()?.get();
                    serde_json::from_str::<Checked>(value).map_err(de::Error::custom)?;
                    p.unknown.push((key, value));
                }
            }
        }
        refuse_twins(p.unknown.iter().map(|(name, _)| name.as_ref()).collect())?;
        for money in [p.price_at_order, p.new_price, p.old_price, p.refund_amount].into_iter().flatten() {
            serde_json::from_str::<Checked>(money).map_err(de::Error::custom)?;
        }
        Ok(p)
    }
}

/// Refuses a name that stands twice. Sorted, because comparing each with each would let one long line take minutes.
fn refuse_twins<N: AsRef<str> + Ord, E: de::Error>(mut names: Vec<N>) -> Result<(), E> {
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(E::custom(format_args!("the key '{}' stands twice", pair[0].as_ref().escape_debug()))),
        None => Ok(()),
    }
}

impl RawPayload<'_> {
    /// Whether a field that the contract names is a list or an object, which none is.
    pub fn is_nested(&self) -> bool {
        self.scalars().into_iter().any(|value| matches!(value, Scalar::Other("a list" | "an object")))
            || matches!(self.idempotency_key, Scalar::Other("a list" | "an object"))
    }

    fn scalars(&self) -> [&Scalar<'_>; 9] {
        [
            &self.shop_id,
            &self.order_id,
            &self.user_id,
            &self.good_id,
            &self.qty,
            &self.delta_count,
            &self.active,
            &self.reason,
            &self.sub_event_type,
        ]
    }

    /// A fingerprint of what the payload says: the same for another order of keys, other spaces or `2.5` for `2.50`,
    /// another one for any other content. The idempotency key itself is left out.
    pub fn fingerprint(&self, event_type: u8) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update([event_type]);
        for value in self.scalars() {
            hash_scalar(&mut hash, value);
        }
        for text in [self.price_at_order, self.new_price, self.old_price, self.refund_amount] {
            match text.filter(|text| *text != "null").map(|text| (text, super::Money::parse(text))) {
                None => hash.update([0]),
                Some((_, Ok(money))) => hash_bytes(&mut hash, 1, &money.minor().to_be_bytes()),
                Some((text, Err(_))) => hash_bytes(&mut hash, 2, text.as_bytes()),
            }
        }
        let mut unknown: Vec<_> = self.unknown.iter().collect();
        unknown.sort();
        for (name, value) in unknown {
            hash_bytes(&mut hash, 3, name.as_bytes());
            hash_bytes(&mut hash, 4, value.as_bytes());
        }
        let digest = hash.finalize();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        short
    }
}

fn hash_scalar(hash: &mut Sha256, value: &Scalar<'_>) {
    match value {
        Scalar::Absent | Scalar::Null => hash.update([0]),
        Scalar::Bool(value) => hash.update([1, u8::from(*value)]),
        Scalar::Int(value) => hash_bytes(hash, 2, &value.to_be_bytes()),
        Scalar::Text(text) => hash_bytes(hash, 3, text.as_bytes()),
        Scalar::Other(what) => hash_bytes(hash, 4, what.as_bytes()),
    }
}

/// Length first, so that no two lists of values make the same bytes.
fn hash_bytes(hash: &mut Sha256, tag: u8, bytes: &[u8]) {
    hash.update([tag]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn refuse_nul<E: de::Error>(text: &str) -> Result<(), E> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(E::custom("a string contains the NUL character"));
    }
    Ok(())
}

/// An object's key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Ok(Self(text)),
            other => Err(de::Error::custom(format_args!("a key is {}", other.what()))),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Scalar::Other("an integer over 64 bits"), Scalar::Int))
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Other("a number that is no 64-bit integer"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        refuse_nul(text)?;
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        refuse_nul(text)?;
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<Checked>()?.is_some() {}
        Ok(Scalar::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        check_map(map)?;
        Ok(Scalar::Other("an object"))
    }
}

/// A value that is not used but must be sound: `IgnoredAny` would let lone surrogates and any depth pass.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scalar::deserialize(deserializer).map(|_| Self)
    }
}

fn check_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    let mut keys: Vec<Cow<'de, str>> = Vec::new();
    while let Some(Key(key)) = map.next_key()? {
        map.next_value::<Checked>()?;
        keys.push(key);
    }
    refuse_twins(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Full<'a> = RawEvent<'a, RawPayload<'a>>;

    fn reason(line: &[u8]) -> Option<Reason> {
        Full::parse(line).err().map(|reject| reject.reason)
    }

    fn payload(inner: &str) -> String {
        format!(r#"{{"event_type":1,"payload":{{{inner}}}}}"#)
    }

    #[test]
    fn keys_come_in_any_order_and_unknown_ones_pass() {
        let line =
            br#"{"x":{"y":[1,{"z":null}]},"payload":{"note":"\u00e9","shop_id":-3},"timestamp":"t","event_type":0}"#;
        let event = Full::parse(line).unwrap();
        assert_eq!(event.event_type, Scalar::Int(0));
        assert_eq!(event.payload.unwrap().shop_id, Scalar::Int(-3));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_wherever_it_is() {
        for line in [
            r#"{"event_type":1,"event_type":1}"#,
            r#"{"payload":{},"payload":{}}"#,
            r#"{"x":1,"x":2}"#,
            r#"{"x":1,"\u0078":2}"#,
            r#"{"x":{"y":{"a":1,"b":2,"a":3}}}"#,
            &payload(r#""shop_id":1,"shop_id":2"#),
            &payload(r#""shop_id":null,"shop_id":2"#),
            &payload(r#""new_price":1,"new_price":1"#),
            &payload(r#""note":1,"note":1"#),
            &payload(r#""note":{"a":1,"a":1}"#),
        ] {
            assert_eq!(reason(line.as_bytes()), Some(Reason::Malformed), "{line}");
        }
    }

    #[test]
    fn unused_strings_are_checked_too() {
        for bad in [r#""\ud800""#, r#""\udc00\ud800""#, r#"{"\ud800":1}"#, r#"["\ud800"]"#] {
            assert!(reason(payload(&format!(r#""note":{bad}"#)).as_bytes()).is_some(), "{bad}");
            assert!(reason(format!(r#"{{"note":{bad}}}"#).as_bytes()).is_some(), "{bad}");
        }
        assert_eq!(reason(payload(r#""note":"a\u0000b""#).as_bytes()), Some(Reason::Malformed));
        assert_eq!(reason(b"{\"note\":\"a\0b\"}"), Some(Reason::BadJson));
        assert!(reason(payload(r#""new_price":"\ud800""#).as_bytes()).is_some());
    }

    #[test]
    fn depth_is_limited_without_using_up_the_stack() {
        for depth in [200, 100_000] {
            let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            for line in [
                format!(r#"{{"x":{deep}}}"#),
                payload(&format!(r#""note":{deep}"#)),
                payload(&format!(r#""new_price":{deep}"#)),
                payload(&format!(r#""qty":{deep}"#)),
                deep.clone(),
            ] {
                assert!(reason(line.as_bytes()).is_some());
            }
        }
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_reason() {
        assert_eq!(reason(b""), Some(Reason::BadJson));
        assert_eq!(reason(b"\xef\xbb\xbf{}"), Some(Reason::BadJson));
        assert_eq!(reason(b"{}\r"), Some(Reason::BadLineEnd));
        assert_eq!(reason(b"{\"a\":\"\xff\"}"), Some(Reason::BadUtf8));
        assert_eq!(reason(b"{\"a\":1"), Some(Reason::BadJson));
        assert_eq!(reason(b"{} {}"), Some(Reason::BadJson));
        assert_eq!(reason(b"[]"), Some(Reason::Malformed));
        assert_eq!(reason(b"7"), Some(Reason::Malformed));
        assert_eq!(reason(br#"{"payload":[]}"#), Some(Reason::Malformed));
        assert_eq!(reason(b"{\"a\":1e999}"), Some(Reason::BadJson));
    }

    #[test]
    fn a_hundred_thousand_keys_are_no_burden() {
        let keys: Vec<String> = (0..100_000).map(|number| format!("\"k{number}\":0")).collect();
        assert_eq!(reason(payload(&keys.join(",")).as_bytes()), None);
        let twice = format!("{},\"k7\":1", keys.join(","));
        assert_eq!(reason(payload(&twice).as_bytes()), Some(Reason::Malformed));
    }

    #[test]
    fn a_fingerprint_depends_on_content_only() {
        let print = |inner: &str| {
            let line = payload(inner);
            Full::parse(line.as_bytes()).unwrap().payload.unwrap().fingerprint(1)
        };
        let base = print(r#""shop_id":1,"price_at_order":2.5,"note":[1, 2],"b":1"#);
        assert_eq!(base, print(r#" "b":1 ,"note":[1, 2],"price_at_order":2.50,"shop_id":1,"user_id":null"#));
        assert_eq!(base, print(r#""idempotency_key":"k","shop_id":1,"price_at_order":2.5,"note":[1, 2],"b":1"#));
        assert_ne!(base, print(r#""shop_id":2,"price_at_order":2.5,"note":[1, 2],"b":1"#));
        assert_ne!(base, print(r#""shop_id":1,"price_at_order":2.51,"note":[1, 2],"b":1"#));
        assert_ne!(base, print(r#""shop_id":1,"price_at_order":2.5,"note":[1, 3],"b":1"#));
        assert_ne!(print(r#""user_id":1"#), print(r#""good_id":1"#));
    }
}
