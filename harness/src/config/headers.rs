//! Header rules that are accepted and do other things than their author thinks.

use mtls_gate_core::template::Template;
use serde_json::{Map, Value};

use super::finding::{FindingId, Findings};

const ADDED: &str = "headerAction.requestHeadersToAdd";

pub(super) fn check(document: &Map<String, Value>, findings: &mut Findings<'_>) {
    let list = document
        .get("headerAction")
        .and_then(|action| action.get("requestHeadersToAdd"))
        .and_then(Value::as_array);
    for (index, header) in list.into_iter().flatten().enumerate() {
        added(header, &format!("{ADDED}[{index}]"), findings);
    }
    always_empty(document, findings);
}

fn added(header: &Value, path: &str, findings: &mut Findings<'_>) {
    let text = |field| header.get(field).and_then(Value::as_str);
    let (Some(name), Some(value)) = (text("headerName"), text("headerValue")) else {
        return;
    };
    if header.get("replace").and_then(Value::as_bool) == Some(true) {
        return;
    }
    // What is no template is the core's to refuse.
    let Ok(template) = Template::parse(value.trim()) else {
        return;
    };
    if template.has_variable() {
        findings.warning(
            FindingId::HeaderSpoofableAtGoogle,
            path,
            format!(
                "{name} has a certificate variable and no replace: true: behind Google's load balancer \
                 a copy that the client sends goes on beside the real one; here it is always replaced"
            ),
            "add replace: true",
        );
    } else {
        findings.warning(
            FindingId::HeaderAppended,
            path,
            format!(
                "{name} has no certificate variable and no replace: true: it is added to what the \
                 client sent, here and by Google, so that the client's own copy survives"
            ),
            "add replace: true, unless the backend expects several",
        );
    }
}

/// Without mTLS all variables are empty, here and behind Google's load balancers.
fn always_empty(document: &Map<String, Value>, findings: &mut Findings<'_>) {
    let policy = document.get("serverTlsPolicy");
    let with_mtls = policy
        .and_then(|policy| policy.get("mtlsPolicy"))
        .is_some_and(|mtls| !mtls.is_null());
    if with_mtls {
        return;
    }
    let Some((path, count)) = first_with_variable(document) else {
        return;
    };
    findings.warning(
        FindingId::VariablesAlwaysEmpty,
        &path,
        format!(
            "{count} header(s) with certificate variables and no mtlsPolicy: all values are empty, as \
             behind a load balancer without mTLS"
        ),
        "give the ServerTlsPolicy with --server-tls-policy; only as a guard for a backend that other \
         front ends reach too are empty headers what is meant",
    );
}

/// The first header with a variable, and how many there are.
fn first_with_variable(document: &Map<String, Value>) -> Option<(String, usize)> {
    let list =
        |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let custom = list(document.get("customRequestHeaders"))
        .into_iter()
        .enumerate()
        .map(|(index, header)| {
            let value = header.as_str().and_then(|header| header.split_once(':'));
            let value = value.map(|(_, value)| value.to_owned());
            (format!("customRequestHeaders[{index}]"), value)
        });
    let action = document.get("headerAction");
    let action = ["requestHeadersToAdd", "responseHeadersToAdd"]
        .into_iter()
        .flat_map(|field| {
            list(action.and_then(|action| action.get(field)))
                .into_iter()
                .enumerate()
                .map(move |(index, header)| {
                    let value = header.get("headerValue").and_then(Value::as_str);
                    let value = value.map(ToOwned::to_owned);
                    (format!("headerAction.{field}[{index}]"), value)
                })
        });
    let with_variable: Vec<String> = custom
        .chain(action)
        .filter(|(_, value)| {
            let template = value.as_deref().map(|value| Template::parse(value.trim()));
            matches!(template, Some(Ok(template)) if template.has_variable())
        })
        .map(|(path, _)| path)
        .collect();
    let count = with_variable.len();
    with_variable.into_iter().next().map(|path| (path, count))
}
