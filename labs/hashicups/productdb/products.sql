-- The schema and the first content of the coffee shop, in the tables and with the
-- facts (names, prices, ingredients) of the original application. Prices are in
-- hundredths of the currency. An empty line after a semicolon ends what is sent as
-- one transaction; there is none before the end of this file.
BEGIN;
CREATE TABLE coffees (
    id          serial PRIMARY KEY,
    name        varchar(255) NOT NULL UNIQUE,
    teaser      varchar(255),
    collection  varchar(255),
    origin      varchar(255),
    color       varchar(7),
    description text,
    price       int NOT NULL,
    image       text,
    created_at  timestamp NOT NULL DEFAULT now(),
    updated_at  timestamp NOT NULL DEFAULT now(),
    deleted_at  timestamp
);
CREATE TABLE ingredients (
    id         serial PRIMARY KEY,
    name       varchar(255) NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp
);
CREATE TABLE coffee_ingredients (
    id            serial PRIMARY KEY,
    coffee_id     int REFERENCES coffees (id),
    ingredient_id int REFERENCES ingredients (id),
    quantity      int NOT NULL,
    unit          varchar(50) NOT NULL,
    created_at    timestamp NOT NULL DEFAULT now(),
    updated_at    timestamp NOT NULL DEFAULT now(),
    deleted_at    timestamp,
    CONSTRAINT unique_coffee_ingredient UNIQUE (coffee_id, ingredient_id)
);
CREATE TABLE users (
    id         serial PRIMARY KEY,
    username   varchar(255) NOT NULL UNIQUE,
    password   text NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp
);
CREATE TABLE tokens (
    id         serial PRIMARY KEY,
    user_id    int REFERENCES users (id),
    created_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp
);
CREATE TABLE orders (
    id         serial PRIMARY KEY,
    user_id    int REFERENCES users (id),
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp
);
CREATE INDEX orders_of_user ON orders (user_id);
CREATE TABLE order_items (
    id         serial PRIMARY KEY,
    order_id   int REFERENCES orders (id),
    coffee_id  int REFERENCES coffees (id),
    quantity   int NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp
);
CREATE INDEX items_of_order ON order_items (order_id);
INSERT INTO ingredients (name) VALUES
    ('Espresso'), ('Semi Skimmed Milk'), ('Hot Water'),
    ('Pumpkin Spice'), ('Steamed Milk'), ('Coffee');
INSERT INTO coffees (name, collection, origin, color, price, image, teaser, description) VALUES
    ('HCP Aeropress', 'Foundations', 'Summer 2020', '#444', 200, '/hashicorp.png',
     'The whole stack, pressed for you', 'Filter coffee under gentle pressure. Somebody else looks after the machine.'),
    ('Packer Spiced Latte', 'Origins', 'Summer 2013', '#1FA7EE', 350, '/packer.png',
     'One recipe, the same cup everywhere', 'Espresso, milk and pumpkin spice, baked once and poured wherever you are.'),
    ('Vaulatte', 'Foundations', 'Spring 2015', '#FFD814', 200, '/vault.png',
     'A latte that keeps your secrets', 'A quiet latte. What is in it is told only to those with a fresh token.'),
    ('Nomadicano', 'Foundations', 'Fall 2015', '#00CA8E', 150, '/nomad.png',
     'Placed on the next free table', 'An americano that settles wherever there is room, and moves on when there is not.'),
    ('Terraspresso', 'Origins', 'Summer 2014', '#894BD1', 150, '/terraform.png',
     'Declared, planned, poured', 'A short espresso. You see what will change before you drink it.'),
    ('Vagrante espresso', 'Origins', '2010', '#0E67ED', 200, '/vagrant.png',
     'Works in my cup, works in yours', 'A double espresso in a cup that looks the same on every desk.'),
    ('Connectaccino', 'Origins', 'Spring 2014', '#F44D8A', 250, '/consul.png',
     'Knows where every bean is', 'Espresso and steamed milk that find one another without being told an address.'),
    ('Boundary Red Eye', 'Discoveries', 'Fall 2020', '#F24C53', 200, '/boundary.png',
     'Wide awake at the door', 'Coffee with espresso in it, for those who watch who comes in.'),
    ('Waypointiato', 'Discoveries', 'Fall 2020', '#14C6CB', 250, '/waypoint.png',
     'Built, deployed and topped with milk', 'A macchiato that takes the same three steps each time.');
INSERT INTO coffee_ingredients (coffee_id, ingredient_id, quantity, unit)
SELECT c.id, i.id, r.quantity, r.unit
FROM (VALUES
    ('HCP Aeropress', 'Coffee', 350, 'ml'),
    ('Packer Spiced Latte', 'Espresso', 40, 'ml'),
    ('Packer Spiced Latte', 'Semi Skimmed Milk', 300, 'ml'),
    ('Packer Spiced Latte', 'Pumpkin Spice', 5, 'g'),
    ('Vaulatte', 'Espresso', 40, 'ml'),
    ('Vaulatte', 'Semi Skimmed Milk', 300, 'ml'),
    ('Nomadicano', 'Espresso', 20, 'ml'),
    ('Nomadicano', 'Hot Water', 100, 'ml'),
    ('Terraspresso', 'Espresso', 20, 'ml'),
    ('Vagrante espresso', 'Espresso', 40, 'ml'),
    ('Connectaccino', 'Espresso', 40, 'ml'),
    ('Connectaccino', 'Steamed Milk', 300, 'ml'),
    ('Boundary Red Eye', 'Espresso', 30, 'ml'),
    ('Boundary Red Eye', 'Coffee', 120, 'ml'),
    ('Waypointiato', 'Espresso', 60, 'ml'),
    ('Waypointiato', 'Semi Skimmed Milk', 30, 'ml')
) AS r (coffee, ingredient, quantity, unit)
JOIN coffees c ON c.name = r.coffee
JOIN ingredients i ON i.name = r.ingredient
ORDER BY c.id, i.id;
ANALYZE;
COMMIT;
