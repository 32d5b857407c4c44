//! The two text formats that metrics are read in, and which of them a request asks for.
//!
//! The registry writes OpenMetrics 1.0. The format of Prometheus, 0.0.4, has the same samples; only the lines before them
//! differ: a counter is announced by its full name with `_total`, an info is a gauge, and there is neither a unit nor
//! an end. So it is made from the other one line by line; no library does both from one registry.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// A format of the scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4: what is answered to all who do not ask for the other one.
    Text,
}

impl Format {
    /// What the request prefers; of two that are equally welcome OpenMetrics if it is named.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<(String, f32)> = values.flat_map(|value| value.split(',')).map(range).collect();
        let quality = |name: &str| {
            let named = ranges.iter().filter(|(range, _)| range == name).map(|(_, quality)| *quality);
            named.fold(0.0, f32::max)
        };
        let wanted = quality("application/openmetrics-text");
        let plain = quality("text/plain");
        if wanted > 0.0 && wanted >= plain { Self::OpenMetrics } else { Self::Text }
    }

    /// The content type of an answer in this format.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What the registry wrote, in this format.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => text(&open_metrics),
        }
    }
}

/// One media range of an `Accept`, with its weight.
fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")));
    (name, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

fn text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // The help stands before the type, on which its name depends.
    let mut help = None;
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), words) => help = Some((name, words.unwrap_or_default())),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = announced(kind);
                if let Some((_, words)) = help.take().filter(|(own, _)| *own == name) {
                    text.push_str(&format!("# HELP {name}{suffix} {}\n", words.replace("\\\"", "\"")));
                }
                text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// What a family of this kind is announced as: what its name ends in, and its kind there.
fn announced(kind: &str) -> (&'static str, &str) {
    match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "stateset" => ("", "gauge"),
        "unknown" => ("", "untyped"),
        same => ("", same),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_preferred() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        for (accept, format) in [
            (None, Format::Text),
            (Some("*/*"), Format::Text),
            (Some("text/plain"), Format::Text),
            (Some("text/html, text/*;q=0.8"), Format::Text),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("Application/OpenMetrics-Text; version=1.0.0"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0.2, text/plain;q=0.7"), Format::Text),
            (Some("text/plain, application/openmetrics-text"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0"), Format::Text),
            (Some(prometheus), Format::OpenMetrics),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(accept.map(|accept| (ACCEPT, HeaderValue::from_str(accept).unwrap())));
            assert_eq!(Format::asked_for(&headers), format, "{accept:?}");
        }
    }

    #[test]
    fn the_text_format_announces_every_sample_by_its_own_name() {
        let open_metrics = "# HELP a A \\\"thing\\\".\n# TYPE a counter\na_total{x=\"# HELP\"} 1\n\
             # HELP b_seconds B.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_sum 0.5\nb_seconds_count 1\n\
             b_seconds_bucket{le=\"+Inf\"} 1\n# HELP c C.\n# TYPE c info\nc_info{v=\"1\"} 1\n# TYPE d unknown\nd 1\n# EOF\n";
        let expected = "# HELP a_total A \"thing\".\n# TYPE a_total counter\na_total{x=\"# HELP\"} 1\n\
             # HELP b_seconds B.\n# TYPE b_seconds histogram\nb_seconds_sum 0.5\nb_seconds_count 1\n\
             b_seconds_bucket{le=\"+Inf\"} 1\n# HELP c_info C.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n# TYPE d untyped\nd 1\n";
        assert_eq!(Format::Text.of(open_metrics.to_owned()), expected);
        assert_eq!(Format::OpenMetrics.of(open_metrics.to_owned()), open_metrics);
    }
}
