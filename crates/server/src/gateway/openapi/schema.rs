//! Shapes of JSON, in few words. Objects are closed: what an answer holds is all named here, or said to be open.

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};

/// A shape, or the name of one among the components.
pub(super) type Shape = RefOr<Schema>;

fn of(object: ObjectBuilder) -> Shape {
    RefOr::T(Schema::Object(object.build()))
}

fn kind(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind)
}

/// Anything, null included.
pub(super) fn any() -> Shape {
    RefOr::T(Schema::Object(Object::with_type(SchemaType::AnyValue)))
}

pub(super) fn text() -> Shape {
    of(kind(Type::String))
}

/// A text of one to so many characters.
pub(super) fn short(max: usize) -> Shape {
    of(kind(Type::String).min_length(Some(1)).max_length(Some(max)))
}

/// A text that fits.
pub(super) fn like(pattern: &str, min: usize, max: usize) -> Shape {
    of(kind(Type::String).pattern(Some(pattern)).min_length(Some(min)).max_length(Some(max)))
}

pub(super) fn guid() -> Shape {
    formatted("uuid")
}

/// A time, RFC 3339.
pub(super) fn time() -> Shape {
    formatted("date-time")
}

pub(super) fn formatted(format: &str) -> Shape {
    of(kind(Type::String).format(Some(SchemaFormat::Custom(format.to_owned()))))
}

pub(super) fn word(words: &[&str]) -> Shape {
    of(kind(Type::String).enum_values(Some(words.iter().copied())))
}

pub(super) fn whole() -> Shape {
    of(kind(Type::Integer))
}

pub(super) fn between(least: i64, most: i64) -> Shape {
    of(kind(Type::Integer).minimum(Some(number_of(least))).maximum(Some(number_of(most))))
}

fn number_of(value: i64) -> utoipa::Number {
    utoipa::Number::Int(isize::try_from(value).unwrap_or(isize::MAX))
}

pub(super) fn number() -> Shape {
    of(kind(Type::Number))
}

pub(super) fn flag() -> Shape {
    of(kind(Type::Boolean))
}

/// An object of whatever members.
pub(super) fn map() -> Shape {
    of(kind(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(true))))
}

/// An object whose members are all of a shape.
pub(super) fn map_of(member: Shape) -> Shape {
    of(kind(Type::Object).additional_properties(Some(AdditionalProperties::RefOr(member))))
}

/// Tags.
pub(super) fn texts() -> Shape {
    map_of(text())
}

pub(super) fn list(item: Shape) -> Shape {
    RefOr::T(Schema::Array(ArrayBuilder::new().items(item).build()))
}

/// What Azure's lists are: `value`, and the address of the next page if there is one.
pub(super) fn page(item: Shape) -> Shape {
    object([("value", list(item)), ("nextLink?", text())])
}

pub(super) fn values(item: Shape) -> Shape {
    object([("value", list(item))])
}

/// The shape of that name among the components.
pub(super) fn named(name: &str) -> Shape {
    RefOr::Ref(Ref::from_schema_name(name))
}

pub(super) fn or_null(shape: Shape) -> Shape {
    RefOr::T(Schema::AnyOf(AnyOfBuilder::new().item(shape).item(RefOr::T(Schema::Object(Object::with_type(Type::Null)))).build()))
}

pub(super) fn either(one: Shape, other: Shape) -> Shape {
    RefOr::T(Schema::AnyOf(AnyOfBuilder::new().item(one).item(other).build()))
}

fn members<'a>(members: impl IntoIterator<Item = (&'a str, Shape)>, closed: bool) -> Shape {
    let mut built = kind(Type::Object);
    for (name, shape) in members {
        if let Some(name) = name.strip_suffix('?') {
            built = built.property(name, shape);
        } else {
            built = built.property(name, shape).required(name);
        }
    }
    if closed {
        built = built.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
    }
    of(built)
}

/// An object of these members; those whose name ends in `?` may be missing. There are no others.
pub(super) fn object<'a>(list: impl IntoIterator<Item = (&'a str, Shape)>) -> Shape {
    members(list, true)
}

/// Likewise, and there may be others.
pub(super) fn open<'a>(list: impl IntoIterator<Item = (&'a str, Shape)>) -> Shape {
    members(list, false)
}

/// The same shape with an example, for a reader and for whoever tries the door out.
pub(super) fn example(shape: Shape, example: Value) -> Shape {
    match shape {
        RefOr::T(Schema::Object(mut object)) => {
            object.examples.push(example);
            RefOr::T(Schema::Object(object))
        }
        other => other,
    }
}
