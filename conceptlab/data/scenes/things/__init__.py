"""Things that pictures show: each draws itself, with its parts and materials, at a place."""

from conceptlab.data.scenes.things.indoors import bed as bed
from conceptlab.data.scenes.things.indoors import chair as chair
from conceptlab.data.scenes.things.indoors import cup as cup
from conceptlab.data.scenes.things.indoors import lamp as lamp
from conceptlab.data.scenes.things.indoors import picture as picture
from conceptlab.data.scenes.things.indoors import table as table
from conceptlab.data.scenes.things.living import bird as bird
from conceptlab.data.scenes.things.living import dog as dog
from conceptlab.data.scenes.things.living import person as person
from conceptlab.data.scenes.things.outdoors import ball as ball
from conceptlab.data.scenes.things.outdoors import boat as boat
from conceptlab.data.scenes.things.outdoors import bush as bush
from conceptlab.data.scenes.things.outdoors import cactus as cactus
from conceptlab.data.scenes.things.outdoors import car as car
from conceptlab.data.scenes.things.outdoors import fence as fence
from conceptlab.data.scenes.things.outdoors import flower as flower
from conceptlab.data.scenes.things.outdoors import house as house
from conceptlab.data.scenes.things.outdoors import rock as rock
from conceptlab.data.scenes.things.outdoors import streetlight as streetlight
from conceptlab.data.scenes.things.outdoors import tree as tree
from conceptlab.data.scenes.things.palette import pick as pick
