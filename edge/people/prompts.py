"""What to say while enrolling, for those who do not know what to say."""

PROMPTS = (
    ("as you usually talk", "The ferry leaves the harbour at a quarter past eight, unless thick fog rolls in."),
    ("happy, with good news", "You won't believe it: they loved the whole idea, and we start on Thursday!"),
    ("annoyed", "I have asked four times now, and nobody bothers to give me a clear answer."),
    ("calm and slow", "Just breathe out, put both feet on the ground, and watch the clouds go by."),
    ("surprised", "Wait, is that a young fox, sitting right there on the kitchen chair?"),
    ("tired or sad", "The old house is sold, so this was our last evening under the cherry tree."),
    ("in a hurry", "Grab the blue jacket, check the gas, and shut the door, the bus is coming!"),
    ("worried", "Something was moving behind the shed, though I could hardly see a thing."),
    ("telling a joke", "My uncle taught his parrot to whistle, and now it judges how we sing."),
    ("as you usually talk", "Put three large onions, some ginger and a pinch of sugar into the pan."),
)
"""A mood and a sentence for each utterance, in turn; together they have nearly all the sounds of English."""
