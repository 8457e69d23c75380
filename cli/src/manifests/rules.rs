//! The CEL rules of a CRD (`x-kubernetes-validations`), decided as the API server does on a create.
//!
//! Rules about a change (`oldSelf`) don't apply to a create. A rule that needs what the `cel` crate lacks is skipped
//! with a line in the debug log; a test lists which ones these are. A rule whose evaluation fails has been broken, as there.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use cel::common::ast::{CallExpr, Expr};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, STRING_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::parser::Macro;
use cel::{Context, DeclarationError, Env, ExecutionError, Program, extensions};
use regex::Regex;
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
    if let Err(error) = keep_expressions(&mut env) {
        tracing::debug!(%error, "expressions of CEL rules are compiled again for each value");
    }
    Arc::new(env)
});

thread_local! {
    /// Those of `matches`, all from CRDs.
    static EXPRESSIONS: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// The crate's `matches` compiles its expression at each call: another function, which keeps them, stands in for it.
fn keep_expressions(env: &mut Env) -> Result<(), DeclarationError> {
    const KEPT: &str = "matches of kept expressions";
    env.add_macro(Macro::receiver("matches", 1, |helper, target, args| {
        let call = CallExpr {
            func_name: KEPT.to_owned(),
            target: target.take().map(Box::new),
            args: std::mem::take(args),
        };
        Ok(Some(helper.next_expr(Expr::Call(call))))
    }))?;
    env.add_member_overload(KEPT, KEPT, STRING_TYPE, vec![STRING_TYPE], matches)
}

#[expect(clippy::needless_pass_by_value, reason = "the crate calls it so")]
fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = |index: usize| {
        let text = args.get(index).and_then(|arg| arg.downcast_ref::<CelString<'_>>());
        text.map(|text| text.inner()).ok_or_else(|| ExecutionError::function_error("matches", "needs texts"))
    };
    let (value, expression) = (text(0)?, text(1)?);
    let is_match = EXPRESSIONS.with_borrow_mut(|kept| {
        if let Some(regex) = kept.get(expression) {
            return Ok(regex.is_match(value));
        }
        let regex =
            Regex::new(expression).map_err(|error| ExecutionError::function_error("matches", error))?;
        Ok(kept.entry(expression.to_owned()).or_insert(regex).is_match(value))
    })?;
    Ok(CowVal::owned(CelBool::from(is_match)))
}

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

    fn rules_at<'v>(
        &'v self,
        value: &'v Value,
        path: &str,
        visit: &mut impl FnMut(&Rule, &str, &Context<'_, 'v>),
    ) {
        if !self.rules.is_empty() {
            let mut context = Context::with_env(Arc::clone(&ENV));
            context.add_variable_as_val("self", cel(Some(self), value));
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
}

/// The value as CEL sees it: integers are `int`, and field names that CEL could not write are escaped.
fn cel<'v>(schema: Option<&'v Schema>, value: &'v Value) -> Box<dyn Val + 'v> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(flag) => Box::new(CelBool::from(*flag)),
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelDouble::from(number)),
            (None, None) => Box::new(CelNull),
        },
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.items.as_deref());
            let items: Vec<Box<dyn Val + 'v>> = items.iter().map(|item| cel(schema, item)).collect();
            Box::new(CelList::from(items))
        }
        Value::Object(map) => {
            let entry = |(name, value): (&'v String, &'v Value)| {
                let property = schema.and_then(|schema| schema.properties.get(name));
                let below = property.or(schema.and_then(|schema| schema.values.as_deref()));
                let name = if property.is_some() { escaped(name) } else { Cow::Borrowed(name.as_str()) };
                let name = match name {
                    Cow::Borrowed(name) => CelMapKey::from(name),
                    Cow::Owned(name) => CelMapKey::from(name),
                };
                (name, cel(below, value))
            };
            Box::new(CelMap::from(map.iter().map(entry).collect::<HashMap<_, _>>()))
        }
    }
}

/// A field name as Kubernetes writes it in CEL.
fn escaped(name: &str) -> Cow<'_, str> {
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
        return format!("__{name}__").into();
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.into();
    }
    let name = name.replace("__", "__underscores__").replace('.', "__dot__");
    name.replace('-', "__dash__").replace('/', "__slash__").into()
}

#[cfg(test)]
mod tests;
