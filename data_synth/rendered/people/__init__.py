"""People to render: shape, expression, skin, clothes and accessories that go together."""
