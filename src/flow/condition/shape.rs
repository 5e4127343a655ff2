//! The form of a condition, for those who check it before it is ever evaluated.
//!
//! A [`Shape`] is a plain tree without positions. Two conditions that are written alike, blanks aside, have
//! equal shapes; nothing is said of conditions that merely mean the same.

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, operators},
};

use super::Condition;

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    Differs,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// A part of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// `decimal('…')`, with the text if it is written out.
    Decimal(Option<String>),
    /// `slots.name`.
    Slot(String),
    /// `flags.name`.
    Flag(String),
    /// Any other variable: `act`, `text`, `filled`, …
    Variable(String),
    /// `has(…)`.
    Has(Box<Shape>),
    /// `!…`.
    Not(Box<Shape>),
    /// Parts joined by `&&`.
    All(Vec<Shape>),
    /// Parts joined by `||`.
    Any(Vec<Shape>),
    /// A comparison of two values.
    Compare(Comparison, Box<[Shape; 2]>),
    /// `value in list`.
    In(Box<[Shape; 2]>),
    /// A list.
    List(Vec<Shape>),
    /// `condition ? one : other`.
    Choice(Box<[Shape; 3]>),
    /// A function or operator, its target first if it has one.
    Call(String, Vec<Shape>),
    /// A member of something whose shape is known only at run time: the member, and what it is a member of.
    Member(String, Box<Shape>),
    /// What conditions seldom need: maps, numbers without a sign, nothing.
    Other,
}

impl Condition {
    /// The form of the condition. Made on demand: nothing needs it in a turn.
    pub fn shape(&self) -> Shape {
        Shape::of(self.program.expression())
    }
}

impl Shape {
    /// Conditions nest at most [`super::CONDITION_NESTING_MAX`] deep, so this recursion is bounded.
    fn of(node: &IdedExpr) -> Self {
        match &node.expr {
            Expr::Literal(literal) => Self::literal(literal),
            Expr::Ident(name) => Self::Variable(name.clone()),
            Expr::List(list) => Self::List(list.elements.iter().map(Self::of).collect()),
            Expr::Select(select) => {
                let member = match &select.operand.expr {
                    Expr::Ident(name) if name == "slots" => Self::Slot(select.field.clone()),
                    Expr::Ident(name) if name == "flags" => Self::Flag(select.field.clone()),
                    _ => Self::Member(select.field.clone(), Box::new(Self::of(&select.operand))),
                };
                if select.test { Self::Has(Box::new(member)) } else { member }
            }
            Expr::Call(call) => {
                let target = call.target.iter().map(|target| target.as_ref());
                Self::call(&call.func_name, target.chain(&call.args).map(Self::of).collect())
            }
            _ => Self::Other,
        }
    }

    fn literal(literal: &LiteralValue) -> Self {
        match literal {
            LiteralValue::String(text) => Self::Text(text.inner().to_owned()),
            LiteralValue::Int(number) => Self::Integer(*number.inner()),
            LiteralValue::Boolean(truth) => Self::Boolean(*truth.inner()),
            _ => Self::Other,
        }
    }

    fn call(name: &str, parts: Vec<Self>) -> Self {
        let comparison = match name {
            operators::EQUALS => Some(Comparison::Equal),
            operators::NOT_EQUALS => Some(Comparison::Differs),
            operators::LESS => Some(Comparison::Less),
            operators::LESS_EQUALS => Some(Comparison::AtMost),
            operators::GREATER => Some(Comparison::Greater),
            operators::GREATER_EQUALS => Some(Comparison::AtLeast),
            _ => None,
        };
        match (name, comparison) {
            (operators::LOGICAL_AND, _) => Self::All(flat(parts, |part| match part {
                Self::All(parts) => Ok(parts),
                other => Err(other),
            })),
            (operators::LOGICAL_OR, _) => Self::Any(flat(parts, |part| match part {
                Self::Any(parts) => Ok(parts),
                other => Err(other),
            })),
            (operators::LOGICAL_NOT, _) => Self::arranged(name, parts, |[part]| Self::Not(Box::new(part))),
            (operators::IN, _) => Self::arranged(name, parts, |parts| Self::In(Box::new(parts))),
            (operators::CONDITIONAL, _) => Self::arranged(name, parts, |parts| Self::Choice(Box::new(parts))),
            (operators::NEGATE, _) => match parts.as_slice() {
                [Self::Integer(number)] => number.checked_neg().map_or(Self::Other, Self::Integer),
                _ => Self::Call(name.to_owned(), parts),
            },
            ("decimal", _) => Self::Decimal(match parts.as_slice() {
                [Self::Text(text)] => Some(text.clone()),
                _ => None,
            }),
            (_, Some(comparison)) => Self::arranged(name, parts, |parts| Self::Compare(comparison, Box::new(parts))),
            _ => Self::Call(name.to_owned(), parts),
        }
    }

    fn arranged<const N: usize>(name: &str, parts: Vec<Self>, make: impl FnOnce([Self; N]) -> Self) -> Self {
        match <[Self; N]>::try_from(parts) {
            Ok(parts) => make(parts),
            Err(parts) => Self::Call(name.to_owned(), parts),
        }
    }

    /// The parts it is made of, one level down.
    pub fn parts(&self) -> &[Self] {
        match self {
            Self::Has(part) | Self::Not(part) | Self::Member(_, part) => std::slice::from_ref(part),
            Self::All(parts) | Self::Any(parts) | Self::List(parts) | Self::Call(_, parts) => parts,
            Self::Compare(_, parts) | Self::In(parts) => parts.as_slice(),
            Self::Choice(parts) => parts.as_slice(),
            _ => &[],
        }
    }

    /// Calls `visit` with this part and every part below it, the outer first.
    pub fn walk<'s>(&'s self, visit: &mut impl FnMut(&'s Self)) {
        visit(self);
        for part in self.parts() {
            part.walk(visit);
        }
    }

    /// Whether any part is this variable.
    pub fn reads(&self, variable: &str) -> bool {
        let mut found = false;
        self.walk(&mut |part| found |= matches!(part, Self::Variable(name) if name == variable));
        found
    }
}

/// Joins what was nested to the left or right into one list.
fn flat(parts: Vec<Shape>, open: impl Fn(Shape) -> Result<Vec<Shape>, Shape>) -> Vec<Shape> {
    let mut joined = Vec::with_capacity(parts.len());
    for part in parts {
        match open(part) {
            Ok(parts) => joined.extend(parts),
            Err(part) => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Condition, Shape};

    fn shape(source: &str) -> Shape {
        Condition::compile(source).expect("it is a condition").shape()
    }

    #[test]
    fn chains_are_flat_and_blanks_do_not_matter() {
        let chain = shape("recognised && (moved&&asked) && flags.vip");
        let Shape::All(parts) = &chain else { panic!("{chain:?}") };
        assert_eq!(parts.len(), 4);
        assert_eq!(parts.last(), Some(&Shape::Flag("vip".to_owned())));
        assert_eq!(shape("act=='affirm'"), shape("act == 'affirm'"));
        assert_ne!(shape("act == 'affirm'"), shape("act == 'negate'"));
    }

    #[test]
    fn values_are_told_apart() {
        let compared = |source: &str| match shape(source) {
            Shape::Compare(how, sides) => (how, *sides),
            other => panic!("{other:?}"),
        };
        let slot = || Shape::Slot("amount".to_owned());
        let (how, sides) = compared("slots.amount >= decimal('1.5')");
        assert_eq!((how, sides), (Comparison::AtLeast, [slot(), Shape::Decimal(Some("1.5".to_owned()))]));
        assert_eq!(compared("slots.amount != -3"), (Comparison::Differs, [slot(), Shape::Integer(-3)]));
        assert_eq!(shape("!has(slots.amount)"), Shape::Not(Box::new(Shape::Has(Box::new(slot())))));
        assert!(shape("size(enrich.crm.orders) > 0 ? asked : text == ''").reads("asked"));
    }

    #[test]
    fn what_is_read_anywhere_is_found() {
        let mut slots = Vec::new();
        let whole = shape("slots.a in ['x', slots.b] || size(slots.c) > 2 && slots.d.street == 'y'");
        whole.walk(&mut |part| {
            if let Shape::Slot(name) = part {
                slots.push(name.as_str());
            }
        });
        assert_eq!(slots, ["a", "b", "c", "d"]);
    }
}
