//! Conditions: CEL expressions over [`Facts`], restricted to what is deterministic and bounded.
//!
//! Comprehensions, floats, `matches` (it would compile a pattern per turn) and anything else outside the
//! allowed functions are refused when a condition is compiled. Parsing recurses: callers with hostile input
//! compile on a thread with a large stack.

mod facts;
mod outside;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, IdedExpr, Program, Value,
    common::{
        ast::{EntryExpr, Expr, LiteralValue, operators},
        types::{CelBool, CelInt, CelString, STRING_TYPE},
        value::CowVal,
    },
};

pub use facts::{Facts, OUTSIDE, VARIABLES};

use crate::value::Decimal;

/// Longest source of a condition, in bytes.
pub const CONDITION_BYTES_MAX: usize = 1024;
/// How deep a condition may nest, as written and as parsed.
pub const CONDITION_NESTING_MAX: usize = 32;

/// Functions a condition may call, operators aside.
pub const FUNCTIONS: [&str; 8] = ["contains", "decimal", "endsWith", "has", "int", "size", "startsWith", "string"];

const OPERATORS: [&str; 18] = [
    operators::INDEX,
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::IN,
];

/// Why a condition was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// The source is longer than [`CONDITION_BYTES_MAX`].
    #[error("the condition has {len} bytes, at most {CONDITION_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes it has.
        len: usize,
    },
    /// It nests deeper than [`CONDITION_NESTING_MAX`].
    #[error("the condition nests deeper than {CONDITION_NESTING_MAX} levels")]
    TooDeep,
    /// It is no CEL.
    #[error("the condition is not valid CEL: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
        /// Line within the condition, from 1.
        line: usize,
        /// Column within that line, from 1.
        column: usize,
    },
    /// It iterates.
    #[error("the condition iterates; conditions may not use all, exists, exists_one, filter or map")]
    Iterates,
    /// It contains a floating-point number.
    #[error("the condition contains a floating-point number; write decimal('1.5')")]
    Float,
    /// It names something conditions cannot see.
    #[error("unknown variable {0:?}")]
    UnknownVariable(String),
    /// It calls something conditions may not call.
    #[error("function {0:?} is not available in conditions")]
    UnknownFunction(String),
    /// It uses a kind of expression conditions do not need.
    #[error("{0} are not available in conditions")]
    Unsupported(&'static str),
}

/// The condition could not be evaluated: a slot is missing, types differ, a number is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the condition could not be evaluated")]
pub struct Unevaluable;

/// A compiled condition.
#[derive(Clone)]
pub struct Condition {
    program: Arc<Program>,
    source: Arc<str>,
    slots: BTreeSet<String>,
    flags: BTreeSet<String>,
    outside: BTreeSet<(&'static str, String)>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.source)
    }
}

impl Condition {
    /// Compiles `source`.
    ///
    /// # Errors
    /// [`ConditionError`] tells what is wrong.
    pub fn compile(source: &str) -> Result<Self, ConditionError> {
        if source.len() > CONDITION_BYTES_MAX {
            return Err(ConditionError::TooLong { len: source.len() });
        }
        if written_nesting(source) > CONDITION_NESTING_MAX {
            return Err(ConditionError::TooDeep);
        }
        let program = ENVIRONMENT.compile(source).map_err(|errors| {
            let first = errors.errors.first();
            let (line, column) = first.map_or((1, 1), |error| error.pos);
            ConditionError::Syntax {
                message: first.map(|error| error.msg.clone()).unwrap_or_default(),
                line: usize::try_from(line).unwrap_or(1).max(1),
                column: usize::try_from(column).unwrap_or(1).max(1),
            }
        })?;
        let mut walk = Walk::default();
        walk.expression(program.expression(), 0)?;
        let Walk { slots, flags, outside } = walk;
        Ok(Self { slots, flags, outside, source: source.into(), program: Arc::new(program) })
    }

    /// The source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Slots it names.
    pub fn slots(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(String::as_str)
    }

    /// Flags it names.
    pub fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.iter().map(String::as_str)
    }

    /// What it names of what comes from outside: the variable of [`OUTSIDE`] and its member.
    pub fn outside(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.outside.iter().map(|(variable, member)| (*variable, member.as_str()))
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// [`Unevaluable`] when it has no truth value for these facts.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, Unevaluable> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(facts);
        let value = Value::resolve_val(self.program.expression(), &context).map_err(|_| Unevaluable)?;
        value.downcast_ref::<CelBool>().map(|truth| *truth.inner()).ok_or(Unevaluable)
    }
}

/// Types, operators and functions are the same for every flow, so all share one environment.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib().with_optional_support(false);
    // The standard library has no function of this name, so it cannot clash.
    let added = environment.add_overload("decimal", "decimal_string", vec![STRING_TYPE.to_owned()], decimal);
    debug_assert!(added.is_ok(), "the name is free");
    Arc::new(environment)
});

fn decimal<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let parsed = arguments
        .first()
        .and_then(|value| value.downcast_ref::<CelString>())
        .and_then(|text| Decimal::parse(text.inner()));
    match parsed {
        Some(number) => Ok(CowVal::owned(CelInt::from(number.as_micros()))),
        None => {
            Err(ExecutionError::FunctionError { function: "decimal".to_owned(), message: "not a decimal".to_owned() })
        }
    }
}

/// The deepest nesting of brackets and of prefix operators, read without parsing.
fn written_nesting(source: &str) -> usize {
    let (mut open, mut prefix, mut deepest) = (0_usize, 0_usize, 0_usize);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'!' | b'-' | b'?' => prefix += 1,
            b' ' | b'\t' | b'\n' => {}
            _ => prefix = 0,
        }
        deepest = deepest.max(open + prefix);
    }
    deepest
}

#[derive(Default)]
struct Walk {
    slots: BTreeSet<String>,
    flags: BTreeSet<String>,
    outside: BTreeSet<(&'static str, String)>,
}

impl Walk {
    fn expression(&mut self, node: &IdedExpr, depth: usize) -> Result<(), ConditionError> {
        if depth > CONDITION_NESTING_MAX {
            return Err(ConditionError::TooDeep);
        }
        match &node.expr {
            Expr::Unspecified => Err(ConditionError::Unsupported("empty expressions")),
            Expr::Comprehension(_) => Err(ConditionError::Iterates),
            Expr::Struct(_) => Err(ConditionError::Unsupported("messages")),
            Expr::Literal(LiteralValue::Double(_)) => Err(ConditionError::Float),
            Expr::Literal(LiteralValue::Bytes(_)) => Err(ConditionError::Unsupported("bytes")),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => Self::variable(name),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) => self.member(name, &select.field),
                Expr::Select(_) | Expr::Call(_) if from_outside(&select.operand) => {
                    self.expression(&select.operand, depth + 1)
                }
                _ => Err(ConditionError::Unsupported("members of values")),
            },
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expression(element, depth + 1)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key, depth + 1).and_then(|()| self.expression(&entry.value, depth + 1))
                }
                EntryExpr::StructField(_) => Err(ConditionError::Unsupported("messages")),
            }),
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
                    let iterates = ["all", "exists", "exists_one", "filter", "map"].contains(&name);
                    let unknown = || ConditionError::UnknownFunction(name.to_owned());
                    return Err(if iterates { ConditionError::Iterates } else { unknown() });
                }
                let target = call.target.iter().map(|target| target.as_ref());
                target.chain(&call.args).try_for_each(|part| self.expression(part, depth + 1))
            }
        }
    }

    fn member(&mut self, variable: &str, member: &str) -> Result<(), ConditionError> {
        match variable {
            "slots" => drop(self.slots.insert(member.to_owned())),
            "flags" => drop(self.flags.insert(member.to_owned())),
            _ => match OUTSIDE.into_iter().find(|outside| *outside == variable) {
                Some(outside) => drop(self.outside.insert((outside, member.to_owned()))),
                None => {
                    return Self::variable(variable).and(Err(ConditionError::Unsupported("members of this variable")));
                }
            },
        }
        Ok(())
    }

    fn variable(name: &str) -> Result<(), ConditionError> {
        if VARIABLES.contains(&name) { Ok(()) } else { Err(ConditionError::UnknownVariable(name.to_owned())) }
    }
}

/// Whether a chain of members and items begins at a variable whose shape is known only at run time, or at
/// a slot that may be structured.
fn from_outside(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Ident(name) => name == "slots" || OUTSIDE.contains(&name.as_str()),
        Expr::Select(select) => from_outside(&select.operand),
        Expr::Call(call) if call.func_name == operators::INDEX => call.args.first().is_some_and(from_outside),
        _ => false,
    }
}
