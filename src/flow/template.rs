//! Templates of replies: minijinja without functions, filters, includes or macros, strict about what is
//! undefined, with bounded work and output.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use minijinja::{
    Environment, UndefinedBehavior, Value,
    value::{Enumerator, Object},
};

use crate::{
    json::Json,
    prompt::{look_up, value_of},
    value::SlotValue,
};

/// Longest source of a text or template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 16 << 10;
/// Longest text a template may render, in bytes.
pub const REPLY_BYTES_MAX: usize = 64 << 10;
/// Steps one rendering may take.
const FUEL: u64 = 20_000;
/// How deep expressions and blocks may nest.
const NESTING_MAX: usize = 64;

/// Why a template was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The source is longer than [`TEMPLATE_BYTES_MAX`].
    #[error("the template has {len} bytes, at most {TEMPLATE_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes it has.
        len: usize,
    },
    /// It is no template.
    #[error("the template is not valid: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
        /// Line within the template, from 1.
        line: usize,
    },
    /// There are more templates than a flow may have.
    #[error("the flow has too many templates")]
    TooMany,
}

/// The template could not be rendered: an undefined variable, too much work, too long a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the template could not be rendered")]
pub struct Unrenderable;

/// A template of one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateRef(Arc<str>);

/// What a template sees. Only slots the position keeps are in it.
#[derive(Debug)]
pub struct Variables {
    /// Slots, ordered by name.
    pub slots: Vec<(Arc<str>, SlotValue)>,
    /// The intent the reply belongs to.
    pub intent: Arc<str>,
    /// The state the reply belongs to.
    pub state: Arc<str>,
    /// What the user may choose from; only in a question which of several is meant.
    pub options: Option<String>,
    /// What came from outside and what is kept of it, by dotted name: `enrich.customer`, `answer`.
    pub outside: BTreeMap<Arc<str>, Json>,
}

/// The names templates may use besides `slots.<name>`, `enrich.<name>`, `result.<action>` and `data.<name>`.
/// `options` is for questions which of several is meant, `answer` for the answer of a model.
pub const TEMPLATE_VARIABLES: [&str; 5] = ["answer", "intent", "options", "state", "summary"];

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "slots" => Some(Value::from_object(SlotView(Arc::clone(self)))),
            "intent" => Some(Value::from(Arc::clone(&self.intent))),
            "state" => Some(Value::from(Arc::clone(&self.state))),
            "options" => self.options.as_deref().map(Value::from),
            name => look_up(&self.outside, name),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

#[derive(Debug)]
struct SlotView(Arc<Variables>);

impl Object for SlotView {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let place = self.0.slots.binary_search_by(|(slot, _)| slot.as_ref().cmp(name)).ok()?;
        self.0.slots.get(place).map(|(_, value)| match value {
            SlotValue::Text(text) => Value::from(Arc::clone(text)),
            SlotValue::Integer(number) => Value::from(*number),
            SlotValue::Decimal(number) => Value::from(number.to_string()),
            SlotValue::Boolean(truth) => Value::from(*truth),
            SlotValue::Date(date) => Value::from(date.to_string()),
            SlotValue::List(_) => Value::from(value.to_string()),
            SlotValue::Object(object) => value_of(object),
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

/// The compiled templates of one flow.
#[derive(Clone)]
pub struct Templates {
    environment: Environment<'static>,
    count: usize,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Templates({})", self.count)
    }
}

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(NESTING_MAX);
        environment.add_test("defined", minijinja::tests::is_defined);
        environment.add_test("undefined", minijinja::tests::is_undefined);
        Self { environment, count: 0 }
    }
}

impl Templates {
    /// Compiles `source` and keeps it.
    ///
    /// # Errors
    /// [`TemplateError`] tells what is wrong.
    pub fn add(&mut self, source: &str) -> Result<TemplateRef, TemplateError> {
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong { len: source.len() });
        }
        if self.count >= usize::from(u16::MAX) {
            return Err(TemplateError::TooMany);
        }
        let name: Arc<str> = format!("t{}", self.count).into();
        let added = self.environment.add_template_owned(name.to_string(), source.to_owned());
        added.map_err(|error| TemplateError::Syntax {
            message: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
            line: error.line().unwrap_or(1),
        })?;
        self.count += 1;
        Ok(TemplateRef(name))
    }

    /// The variables `template` may look up, as `name` or `slots.name`, in alphabetic order.
    pub fn variables(&self, template: &TemplateRef) -> BTreeSet<String> {
        let found = self.environment.get_template(&template.0).map(|template| template.undeclared_variables(true));
        found.map(|names| names.into_iter().collect()).unwrap_or_default()
    }

    /// Renders `template`.
    ///
    /// # Errors
    /// [`Unrenderable`], without the reason: it could carry what the user said.
    pub fn render(&self, template: &TemplateRef, variables: &Arc<Variables>) -> Result<String, Unrenderable> {
        self.render_with(template, Arc::clone(variables))
    }

    pub(crate) fn render_with<O: Object + 'static>(
        &self,
        template: &TemplateRef,
        variables: Arc<O>,
    ) -> Result<String, Unrenderable> {
        let template = self.environment.get_template(&template.0).map_err(|_| Unrenderable)?;
        let text = template.render(Value::from_dyn_object(variables)).map_err(|_| Unrenderable)?;
        if text.len() > REPLY_BYTES_MAX { Err(Unrenderable) } else { Ok(text) }
    }
}
