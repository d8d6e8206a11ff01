//! Describes the admin API as OpenAPI 3.1, from the table that answers it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::asked::{Kind, Parameter, Place, Sent};
use super::{Route, Routes};
use crate::right::Right;
use crate::{Node, Problem};

/// The description of everything in the table.
pub(crate) fn described<N: Node>(routes: &Routes<N>) -> Value {
    // OpenAPI 3.1 takes JSON Schema of 2020-12 as it is, found where OpenAPI keeps it.
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let problem = generator.subschema_for::<Problem>().to_value();
    let mut paths = Map::new();
    for route in &routes.0 {
        let operation = operation(route, &mut generator, &problem);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.1",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Warren admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the `warren` command line and the page do. A token of `warren token create` goes into \
                the Authorization header; `x-right` says what it must be made for, or that none will do: `owner` is a \
                person who is logged in to the page, `at-the-box` the command line on the box itself.",
            "license": { "name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation<N>(route: &Route<N>, generator: &mut schemars::SchemaGenerator, problem: &Value) -> Value {
    let mut answered = json!({ "description": route.says });
    if !route.reply.media.is_empty() {
        let content = match route.reply.schema {
            Some(schema) => json!({ "schema": schema(generator).to_value() }),
            None => json!({ "schema": { "type": "string" } }),
        };
        let media = route.reply.media.iter().map(|media| (*media, content.clone()));
        answered["content"] = media.collect();
    }
    let refused =
        json!({ "description": "Why not.", "content": { Problem::CONTENT_TYPE: { "schema": problem } } });
    let mut operation = json!({
        "operationId": name(route),
        "summary": route.says,
        "x-right": route.right.word(),
        "security": match route.right {
            Right::Anyone => json!([]),
            _ => json!([{ "token": [] }]),
        },
        "responses": {
            // Said before anybody reads the request, so it has no document.
            "431": { "description": "The address and the headers are too long." },
            "default": refused,
        },
    });
    for status in route.reply.statuses {
        operation["responses"][status.as_str()] = answered.clone();
    }
    let of_path = route.path.split_once('{').map(|(_, rest)| {
        let name = rest.split('}').next().unwrap_or_default();
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
    });
    let parameters: Vec<Value> = of_path
        .into_iter()
        .chain(route.parameters.iter().map(parameter))
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    operation["requestBody"] = match route.sent {
        Sent::Nothing => return operation,
        Sent::Document(schema) => {
            let schema = schema(generator).to_value();
            json!({ "required": true, "content": { "application/json": { "schema": schema } } })
        }
        // Content may be empty, and then there is no body.
        Sent::Content => json!({ "required": false, "content": { "application/octet-stream": {} } }),
    };
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        Place::Query => "query",
        Place::Header => "header",
    };
    let schema = match parameter.kind {
        Kind::Text { bytes_max } => json!({
            "type": "string",
            "minLength": u8::from(parameter.is_required),
            "maxLength": bytes_max,
        }),
        Kind::Number { most } => json!({ "type": "integer", "minimum": 1, "maximum": most }),
    };
    json!({
        "name": parameter.name,
        "in": place,
        "description": parameter.says,
        "required": parameter.is_required,
        "schema": schema,
    })
}

/// A name that no other operation has, e.g. `put-buckets-name-quota`.
fn name<N>(route: &Route<N>) -> String {
    let words = route.path.split('/').filter(|part| !part.is_empty());
    let words = words.map(|part| part.trim_matches(['{', '}']).replace('.', "-"));
    let method = route.method.as_str().to_ascii_lowercase();
    [method].into_iter().chain(words).collect::<Vec<_>>().join("-")
}
