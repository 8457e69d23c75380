//! The CEL rules of a CRD (`x-kubernetes-validations`), decided as the API server does on a create.
//!
//! Rules about a change (`oldSelf`) don't apply to a create. A rule that needs what the `cel` crate lacks is skipped
//! with a line in the debug log; a test lists which ones these are. A rule whose evaluation fails has been broken, as there.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use cel::objects::Key;
use cel::{Context, Env, ExecutionError, Program, extensions};
use serde_json::Value;

use super::schema::{Finding, Schema, join};

/// One rule of one schema node.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(super) expression: String,
    message: String,
    message_expression: Option<String>,
    /// As `.spec.name`: the field that is to blame, below the node.
    field: String,
    program: OnceLock<Result<Program, String>>,
}

/// What a rule says of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Holds,
    Broken,
    /// Needs what we lack; the text says what.
    Skipped(String),
}

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(true);
    for extension in [extensions::strings, extensions::lists, extensions::math] {
        if let Err(error) = env.add_extension(extension) {
            tracing::debug!(%error, "a CEL extension is missing: rules that use it are skipped");
        }
    }
    Arc::new(env)
});

impl Rule {
    pub(crate) fn parse(rule: &Value) -> Option<Self> {
        let text = |key: &str| rule[key].as_str().map(str::to_owned);
        let expression = text("rule")?;
        // On a create there is no old value: such a rule applies to updates alone, unless it says that it can do without.
        if expression.contains("oldSelf") && rule["optionalOldSelf"] != Value::Bool(true) {
            return None;
        }
        Some(Self {
            message: text("message").unwrap_or_else(|| format!("breaks the rule {}", expression.trim())),
            message_expression: text("messageExpression"),
            field: text("fieldPath").unwrap_or_default(),
            expression,
            program: OnceLock::new(),
        })
    }

    pub(super) fn decide(&self, context: &Context<'_, '_>) -> Verdict {
        let program =
            self.program.get_or_init(|| ENV.compile(&self.expression).map_err(|error| error.to_string()));
        let program = match program {
            Ok(program) => program,
            Err(error) => return Verdict::Skipped(error.lines().next().unwrap_or_default().to_owned()),
        };
        match program.execute(context) {
            Ok(cel::Value::Bool(true)) => Verdict::Holds,
            Ok(_) => Verdict::Broken,
            Err(error @ (ExecutionError::UndeclaredReference(_) | ExecutionError::NoSuchOverload(_))) => {
                Verdict::Skipped(error.to_string())
            }
            Err(_) => Verdict::Broken,
        }
    }

    fn finding(&self, path: &str, context: &Context<'_, '_>) -> Finding {
        let expressed = self.message_expression.as_ref().and_then(|expression| {
            match ENV.compile(expression).ok()?.execute(context) {
                Ok(cel::Value::String(message)) => Some(message.to_string()),
                _ => None,
            }
        });
        let path = match self.field.strip_prefix('.') {
            Some(field) => join(path, field),
            None => path.to_owned(),
        };
        Finding::new(&path, expressed.unwrap_or_else(|| self.message.clone()))
    }
}

impl Schema {
    /// Every rule that a completed and checked value breaks.
    pub(crate) fn broken_rules(&self, value: &Value) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.rules_at(value, "", &mut |rule, path, context| match rule.decide(context) {
            Verdict::Holds => {}
            Verdict::Broken => findings.push(rule.finding(path, context)),
            Verdict::Skipped(why) => tracing::debug!(rule = rule.expression, path, why, "skipped a rule"),
        });
        findings
    }

    fn rules_at(&self, value: &Value, path: &str, visit: &mut impl FnMut(&Rule, &str, &Context<'_, '_>)) {
        if !self.rules.is_empty() {
            let mut context = Context::with_env(Arc::clone(&ENV));
            context.add_variable_from_value("self", self.cel(value));
            for rule in &self.rules {
                visit(rule, path, &context);
            }
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    if let Some(schema) = self.properties.get(name).or(self.values.as_deref()) {
                        schema.rules_at(value, &join(path, name), visit);
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = &self.items else { return };
                for (index, item) in items.iter().enumerate() {
                    schema.rules_at(item, &format!("{path}[{index}]"), visit);
                }
            }
            _ => {}
        }
    }

    /// The value as CEL sees it: integers are `int`, and field names that CEL could not write are escaped.
    fn cel(&self, value: &Value) -> cel::Value {
        let nothing = Self::default();
        match value {
            Value::Null => cel::Value::Null,
            Value::Bool(flag) => cel::Value::Bool(*flag),
            Value::String(text) => cel::Value::String(Arc::new(text.clone())),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => cel::Value::Int(number),
                (None, Some(number)) => cel::Value::Float(number),
                (None, None) => cel::Value::Null,
            },
            Value::Array(items) => {
                let schema = self.items.as_deref().unwrap_or(&nothing);
                cel::Value::List(Arc::new(items.iter().map(|item| schema.cel(item)).collect()))
            }
            Value::Object(map) => {
                let entry = |(name, value): (&String, &Value)| {
                    let property = self.properties.get(name);
                    let schema = property.or(self.values.as_deref()).unwrap_or(&nothing);
                    let name = if property.is_some() { escaped(name) } else { name.clone() };
                    (Key::String(Arc::new(name)), schema.cel(value))
                };
                cel::Value::Map(map.iter().map(entry).collect::<HashMap<_, _>>().into())
            }
        }
    }
}

/// A field name as Kubernetes writes it in CEL.
fn escaped(name: &str) -> String {
    const RESERVED: [&str; 20] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
    ];
    if RESERVED.contains(&name) || name == "while" {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

#[cfg(test)]
mod tests;
