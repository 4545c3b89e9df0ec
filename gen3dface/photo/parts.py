"""The codes in Portrait.parts."""

# The multiclass segmenter's classes, in its order.
BACKGROUND, HAIR, BODY_SKIN, FACE_SKIN, CLOTHES, OTHER = range(6)
